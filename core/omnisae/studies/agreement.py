"""Agreement between autoencoders: do two seeds find the same directions, and do these fire in the same examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from omnisae.autoencoders.artifact import Artifact
from omnisae.errors import DatasetError
from omnisae.studies.pooled import strengths
from omnisae.studies.resample import generator, interval
from omnisae.studies.study import Finding, Findings, Material, Measure, Study

MATCHINGS = 32
"""Random matchings whose mean is the control of the overlap of examples."""

AGAIN = 0.7
"""Cosine above which a latent counts as found again."""


@dataclass(frozen=True)
class Dictionary:
    """The living lists of an autoencoder: their numbers, directions (unit norm; of a negative pole, turned round) and
    the examples in which they are strongest (−1: fires in fewer)."""

    lists: Int[np.ndarray, " list"]
    directions: Float[np.ndarray, "list width"]
    tops: Int[np.ndarray, "list example"]


@dataclass(frozen=True)
class Match:
    """Pairs of lists, one from each dictionary, their cosines, and the Jaccard overlap of their top examples (NaN where
    one of them fires in too few)."""

    mine: Int[np.ndarray, " pair"]
    cosine: Float[np.ndarray, " pair"]
    jaccard: Float[np.ndarray, " pair"]
    random_cosine: float
    random_again: float
    random_jaccard: float


class Agreement(Study):
    title = "Does another seed find the same latents?"
    about = (
        "Living latents of two autoencoders are matched one to one by the cosine of their decoder rows (Hungarian "
        "assignment; Fel et al. 2025, Paulo & Belrose 2025). Matched pairs are then compared by the Jaccard overlap of "
        "the examples in which they are strongest; latents that fire in fewer examples are left out."
    )

    def __init__(self, others: Sequence[Path], examples: int, most: int) -> None:
        self.others, self.examples, self.most = others, examples, most

    def study(self, material: Material) -> Findings:
        others = [*material.siblings, *self.others]
        if not others:
            raise DatasetError(
                "there is no other autoencoder to compare with",
                "train two seeds (train.seeds: [0, 1]), or name artifacts under `others`",
            )
        artifact = Artifact.load(material.artifact)
        mine = self._dictionary(artifact, material.strengths)
        random = generator(material, "agreement")
        matches = [match(mine, self._other(path, artifact, material), random) for path in others]
        rows = [
            {
                "autoencoder": path.name,
                "pairs": len(found.mine),
                "mean cosine": float(found.cosine.mean()),
                "random dictionary": found.random_cosine,
                "pairs with enough examples": int((~np.isnan(found.jaccard)).sum()),
                "mean Jaccard": float(np.nanmean(found.jaccard)) if (~np.isnan(found.jaccard)).any() else float("nan"),
                "random matching": found.random_jaccard,
            }
            for path, found in zip(others, matches, strict=True)
        ]
        return Findings(
            findings=self._findings(matches, random),
            measures=self._measures(matches, len(material.postings.poles)),
            tables={"By autoencoder": rows},
            notes=self._notes(material),
        )

    def _dictionary(self, artifact: Artifact, strong: Any) -> Dictionary:
        rows = artifact.autoencoder.decoder_rows().detach().cpu().double().numpy()
        directions = np.concatenate([rows, -rows]) if artifact.signed else rows
        fires = np.asarray((strong > 0).sum(axis=0)).ravel()
        living = np.sort(np.argsort(-fires, kind="stable")[: min(self.most, int((fires > 0).sum()))])
        tops = top_examples(strong, living, self.examples)
        norms = np.linalg.norm(directions[living], axis=1, keepdims=True)
        return Dictionary(living, directions[living] / np.where(norms > 0, norms, 1.0), tops)

    def _other(self, path: Path, mine: Artifact, material: Material) -> Dictionary:
        """Another artifact over the same held-out tokens. Raises ArtifactError where it does not take them."""
        from omnisae.postings.encode import encode

        artifact = Artifact.load(path)
        artifact.info = artifact.info.model_copy(update={"tokens": mine.info.tokens})  # the same tokens for both
        with TemporaryDirectory(prefix=".agreement-", dir=material.folder) as folder:
            postings = encode(artifact, material.source, np.asarray(material.postings.split), Path(folder) / "codes")
            return self._dictionary(artifact, strengths(postings))

    def _findings(self, matches: Sequence[Match], random: np.random.Generator) -> list[Finding]:
        cosine, jaccard = (np.concatenate([getattr(m, name) for m in matches]) for name in ("cosine", "jaccard"))
        known = jaccard[~np.isnan(jaccard)]
        again = (cosine > AGAIN) * 1.0
        noise = float(np.mean([m.random_cosine for m in matches]))
        told = (
            ("Mean cosine of matched latents", cosine, noise),
            (f"Found again (cosine above {AGAIN})", again, float(np.mean([m.random_again for m in matches]))),
        )
        against = "a random dictionary of the same shape, matched alike"
        found = [
            Finding(name, float(one.mean()), len(one), control, against, *interval(one, random), kind="share")
            for name, one, control in told
        ]
        if len(known):
            found.append(
                Finding(
                    f"Overlap of the {self.examples} strongest examples (Jaccard)",
                    float(known.mean()),
                    len(known),
                    float(np.nanmean([m.random_jaccard for m in matches])),
                    "the same latents, matched at random",
                    *interval(known, random),
                    kind="share",
                )
            )
        return found

    def _measures(self, matches: Sequence[Match], lists: int) -> list[Measure]:
        """Means over the other autoencoders."""
        sums, counts = np.zeros((2, lists)), np.zeros((2, lists))
        for found in matches:
            for number, values in enumerate((found.cosine, found.jaccard)):
                known = ~np.isnan(values)
                np.add.at(sums[number], found.mine[known], values[known])
                np.add.at(counts[number], found.mine[known], 1)
        with np.errstate(invalid="ignore"):
            cosine, jaccard = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return [
            Measure("found again", cosine, "cosine with its match in another autoencoder", "share"),
            Measure("same examples", jaccard, "Jaccard overlap of its strongest examples with its match's", "share"),
        ]

    def _notes(self, material: Material) -> list[str]:
        living = int((np.asarray(material.postings.counts) > 0).sum())
        return [f"The {self.most} most frequent of {living} living latents are matched."] if living > self.most else []


def match(mine: Dictionary, other: Dictionary, random: np.random.Generator) -> Match:
    """The one-to-one matching with the largest sum of cosines, and its controls. Raises DatasetError where a side has
    no living latent."""
    if not len(mine.lists) or not len(other.lists):
        raise DatasetError("an autoencoder has no latent that fires on held-out examples", "train it longer")
    one, two, cosine = assign(mine.directions, other.directions)
    noise = random.normal(size=other.directions.shape)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    by_chance = assign(mine.directions, noise)[2]
    shuffled = [jaccard(mine.tops[one], other.tops[random.permutation(two)]) for _ in range(MATCHINGS)]
    known = [values[~np.isnan(values)] for values in shuffled]
    return Match(
        mine=mine.lists[one],
        cosine=cosine,
        jaccard=jaccard(mine.tops[one], other.tops[two]),
        random_cosine=float(by_chance.mean()),
        random_again=float((by_chance > AGAIN).mean()),
        random_jaccard=float(np.concatenate(known).mean()) if any(map(len, known)) else float("nan"),
    )


def assign(
    a: Float[np.ndarray, "list width"], b: Float[np.ndarray, "list2 width"]
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """Rows of `a` and `b`, each once, with the largest sum of inner products, and these."""
    from scipy.optimize import linear_sum_assignment

    cosine = a @ b.T
    one, two = linear_sum_assignment(cosine, maximize=True)
    return one, two, cosine[one, two]


def top_examples(strong: Any, lists: Int[np.ndarray, " list"], count: int) -> Int[np.ndarray, "list example"]:
    """The `count` examples in which each list is strongest (of equals, the earlier row); a row of −1 where it fires in
    fewer, since what follows would be chosen among silent ones."""
    columns = strong.tocsc()
    out = np.full((len(lists), count), -1, dtype=np.int64)
    for place, number in enumerate(lists):
        part = slice(columns.indptr[number], columns.indptr[number + 1])
        rows, values = columns.indices[part], columns.data[part]
        if len(rows) >= count:
            out[place] = rows[np.lexsort((rows, -values))[:count]]
    return out


def jaccard(a: Int[np.ndarray, "pair example"], b: Int[np.ndarray, "pair example"]) -> Float[np.ndarray, " pair"]:
    """|A ∩ B| / |A ∪ B| of each pair of sets; NaN where either is −1 (there is none)."""
    shared = (a[:, :, None] == b[:, None, :]).any(axis=2).sum(axis=1)
    known = (a >= 0).all(axis=1) & (b >= 0).all(axis=1)
    return np.where(known, shared / (2 * a.shape[1] - shared), np.nan)
