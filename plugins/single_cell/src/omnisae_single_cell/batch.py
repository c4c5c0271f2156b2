"""Does a latent follow the batch? Within cell types, so that batches of other composition are no batch effect."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from omnisae.concepts.multiplicity import benjamini_hochberg
from omnisae.errors import DatasetError
from omnisae.extract.split import TEST
from omnisae.studies.columns import Column, classes
from omnisae.studies.ranks import blocks, centred_ranks
from omnisae.studies.resample import generator
from omnisae.studies.study import Finding, Findings, Material, Measure, Study


class Batch(Study):
    title = "Do latents follow the batch?"
    about = (
        "|2·AUROC − 1| of every latent for every batch against the rest on test cells, over pairs of cells of one type "
        "(van Elteren 1960), the largest over batches. p by batches permuted within types, q by Benjamini & Hochberg "
        "over latents. Control: the model's own neurons, asked the same."
    )

    def __init__(self, column: str, within: str | None, permutations: int, least: float, q: float, shown: int) -> None:
        self.column, self.within, self.permutations = column, within, permutations
        self.least, self.q, self.shown = least, q, shown

    def study(self, material: Material) -> Findings:
        batch = classes(material, self.column)
        kinds = classes(material, self.within) if self.within else None
        rows = material.rows(TEST)
        rows = rows[batch.known[rows] & (kinds.known[rows] if kinds else True)]
        member = _members(batch, rows)
        strata = kinds.values[rows].astype(int) if kinds else np.zeros(len(rows), dtype=int)
        if member.shape[1] < 2 or _pairs(strata, member).min() <= 0:
            raise DatasetError(
                f"no two batches of {self.column!r} share a type of {self.within!r} among {len(rows)} test cells",
                "name a column of types that occur in several batches (within), or none",
            )
        random = generator(material, f"batch {self.column}")
        shuffles = [permuted_within(strata, random) for _ in range(self.permutations)]
        living = np.asarray(material.strengths[rows].sum(axis=0)).ravel() > 0
        strength, p, by_chance = follow(material.strengths, rows, strata, member, shuffles)
        strength, p = np.where(living, strength, np.nan), np.where(living, p, np.nan)
        q = benjamini_hochberg(p)
        follows = (q <= self.q) & (strength >= self.least)
        neurons = material.activations(rows, "mean")
        theirs, their_p, _ = follow(neurons, np.arange(len(rows)), strata, member, shuffles)
        they_follow = (benjamini_hochberg(their_p) <= self.q) & (theirs >= self.least)
        where = f" within types of {self.within}" if self.within else ""
        return Findings(
            findings=[
                Finding(
                    f"Latents that follow {self.column}",
                    float(follows[living].mean()),
                    int(living.sum()),
                    float(they_follow.mean()),
                    f"the model's {len(theirs)} neurons",
                    kind="share",
                    remark=f"q ≤ {self.q:g} and an association of {self.least:g} at least{where}",
                ),
                Finding(
                    f"Mean association with {self.column}{where}",
                    float(np.nanmean(strength)),
                    int(living.sum()),
                    float(by_chance[living].mean()),
                    "batches permuted within types",
                    kind="share",
                ),
            ],
            measures=[
                Measure(f"batch ({self.column})", strength, f"association with it{where}, 0 to 1", "share"),
                Measure(f"batch q ({self.column})", q, "q of that, over latents", "chance"),
            ],
            tables={f"Latents that go most with {self.column}": self._table(material, strength, p, q, follows)},
            warnings=[
                f"{int(follows.sum())} of {int(living.sum())} latents follow {self.column}{where}: what they seem to "
                "find may be where a cell was measured."
            ]
            if follows.any()
            else [],
        )

    def _table(
        self,
        material: Material,
        strength: Float[np.ndarray, " list"],
        p: Float[np.ndarray, " list"],
        q: Float[np.ndarray, " list"],
        follows: np.ndarray,
    ) -> list[dict[str, Any]]:
        order = np.argsort(-np.nan_to_num(strength, nan=-1.0), kind="stable")[: self.shown]
        return [
            {
                "latent": str(material.postings.poles.name(int(i))),
                "association": float(strength[i]),
                "p": float(p[i]),
                "q": float(q[i]),
                "follows": "yes" if follows[i] else "",
            }
            for i in order
            if np.isfinite(strength[i])
        ]


def follow(
    values: Any,
    rows: Int[np.ndarray, " row"],
    strata: Int[np.ndarray, " row"],
    member: Float[np.ndarray, "row batch"],
    shuffles: list[Int[np.ndarray, " row"]],
) -> tuple[Float[np.ndarray, " unit"], Float[np.ndarray, " unit"], Float[np.ndarray, " unit"]]:
    """The association of every column of `values` (example × unit) with the batches within strata, its p under
    shuffles of the batches, and its mean under them."""
    pairs = _pairs(strata, member)
    units = values.shape[1]
    found, p, mean = np.zeros(units), np.ones(units), np.zeros(units)
    for part, block in blocks(values, rows):
        ranks = np.zeros(block.shape)
        for stratum in np.unique(strata):
            inside = strata == stratum
            ranks[inside] = centred_ranks(block[inside])
        observed = np.abs(2 * ranks.T @ member / pairs).max(axis=1)
        null = np.stack([np.abs(2 * ranks.T @ member[shuffle] / pairs).max(axis=1) for shuffle in shuffles])
        found[part] = observed
        p[part] = (1 + (null >= observed - 1e-12).sum(axis=0)) / (1 + len(shuffles))
        mean[part] = null.mean(axis=0)
    return found, p, mean


def permuted_within(strata: Int[np.ndarray, " row"], random: np.random.Generator) -> Int[np.ndarray, " row"]:
    """A shuffle that leaves every row within its stratum."""
    out = np.arange(len(strata))
    for stratum in np.unique(strata):
        inside = np.flatnonzero(strata == stratum)
        out[inside] = random.permutation(inside)
    return out


def _members(batch: Column, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row batch"]:
    """Which batch each row is of, a column a batch that occurs."""
    values = batch.values[rows].astype(int)
    return (values[:, None] == np.unique(values)[None]).astype(np.float64)


def _pairs(strata: Int[np.ndarray, " row"], member: Float[np.ndarray, "row batch"]) -> Float[np.ndarray, " batch"]:
    """For each batch the pairs of a cell of it and one of the rest that share a stratum."""
    out = np.zeros(member.shape[1])
    for stratum in np.unique(strata):
        inside = member[strata == stratum]
        ones = inside.sum(axis=0)
        out += ones * (len(inside) - ones)
    return out
