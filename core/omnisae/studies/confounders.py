"""Confounders: does a latent follow where an example comes from rather than what it shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.concepts.multiplicity import benjamini_hochberg
from omnisae.errors import DatasetError
from omnisae.extract.split import TEST
from omnisae.studies.columns import Column, column, concepts
from omnisae.studies.ranks import blocks, centred_ranks, lean, unit_ranks
from omnisae.studies.resample import generator, permutations
from omnisae.studies.study import Finding, Findings, Material, Measure, Study

LEAST = 5
"""Examples that a class needs to be told from the rest, and a stratum on either side to be looked into."""


@dataclass(frozen=True)
class Association:
    """How strongly every list goes with a confounder on TEST (0 none, 1 entirely), its p and its q; `chance` is the
    mean under permuted labels, `followed` how many lists would clear the bar of following it by that chance."""

    strength: Float[np.ndarray, " list"]
    p: Float[np.ndarray, " list"]
    q: Float[np.ndarray, " list"]
    chance: Float[np.ndarray, " list"]
    followed: float


class Confounders(Study):
    title = "Do latents follow a confounder rather than the finding?"
    about = (
        "Association of every latent with every confounder on test examples: |2·AUROC − 1|, the largest over classes, "
        "or |Spearman| for numbers; p by permuted confounders, q by Benjamini & Hochberg over all latents and "
        "confounders. The best latent of each concept is told again within strata of the confounder, where only what "
        "does not go with it can help (stratified AUROC, after van Elteren 1960)."
    )

    def __init__(
        self,
        columns: Sequence[str],
        names: Sequence[str] | None,
        permutations: int,
        least: float,
        q: float,
        strata: int,
    ) -> None:
        self.columns, self.names, self.permutations = columns, names, permutations
        self.least, self.q, self.strata = least, q, strata

    def study(self, material: Material) -> Findings:
        rows = material.rows(TEST)
        found = [column(material, name) for name in self.columns]
        findings_of = {
            name: label for name, label in concepts(material, self.names) if name.split("=")[0] not in self.columns
        }
        told = _leans(material, rows, findings_of)
        rival = self._rival(told, len(material.postings.poles))
        known = _with_q({one.name: self._associate(material, one, rows, rival) for one in found})
        follows = self._follows(known, rival)
        table, warnings = self._by_concept(material, found, known, findings_of, rows)
        return Findings(
            findings=self._findings(known, follows, table),
            measures=[
                *(
                    Measure(f"goes with {name}", one.strength, f"association with {name} on test, 0 to 1", "share")
                    for name, one in known.items()
                ),
                Measure("follows", follows, "the confounder it goes with, more than with any concept", "text"),
            ],
            tables={"Best latent of each concept, within strata of each confounder": table} if table else {},
            warnings=warnings,
            notes=[] if table else ["No concept has enough examples on both sides: only associations are shown."],
        )

    def _rival(self, told: dict[str, Float[np.ndarray, " list"]], lists: int) -> Float[np.ndarray, " list"]:
        """Every list's strongest association with a concept; NaN would beat nothing, so it is 0."""
        if not told:
            return np.zeros(lists)
        return np.asarray(np.nan_to_num(np.abs(np.stack(list(told.values())))).max(axis=0))

    def _associate(
        self, material: Material, one: Column, rows: Int[np.ndarray, " row"], rival: Float[np.ndarray, " list"]
    ) -> Association:
        """Strengths with p-values; NaN for lists that are silent on the examples of which the confounder is known."""
        rows = rows[one.known[rows]]
        values = one.values[rows]
        labels = _arrangement(one, values)
        if labels is None:
            raise DatasetError(
                f"the confounder {one.name!r} does not differ on {len(rows)} test examples",
                f"name a column with two classes of {LEAST} test examples at least, or with different numbers",
            )
        random = generator(material, f"confounder {one.name}")
        shuffles = np.stack(list(permutations(material, rows, self.permutations, random)), axis=1)
        lists = len(material.postings.poles)
        strength, p, chance = np.full(lists, np.nan), np.full(lists, np.nan), np.full(lists, np.nan)
        followed, bar = 0.0, np.maximum(rival, self.least)
        for part, found in blocks(material.strengths, rows):
            ranks = centred_ranks(found) if one.classes else unit_ranks(found)
            observed, null = _strength(ranks, labels, bool(one.classes)), np.zeros((found.shape[1], self.permutations))
            for draw in range(self.permutations):
                null[:, draw] = _strength(ranks, labels[shuffles[:, draw]], bool(one.classes))
            fires = found.any(axis=0)
            strength[part] = np.where(fires, observed, np.nan)
            p[part] = np.where(
                fires, (1 + (null >= observed[:, None] - 1e-12).sum(axis=1)) / (1 + self.permutations), np.nan
            )
            chance[part] = np.where(fires, null.mean(axis=1), np.nan)
            followed += float((null[fires] > bar[part][fires, None]).mean(axis=1).sum())
        return Association(strength, p, np.full(lists, np.nan), chance, followed)

    def _follows(self, known: dict[str, Association], rival: Float[np.ndarray, " list"]) -> list[str]:
        """For every list the confounder it goes with most, where that is sure, strong, and more than any concept."""
        names = list(known)
        strength = np.stack([np.nan_to_num(known[name].strength) for name in names])
        sure = np.stack([known[name].q <= self.q for name in names])
        flagged = np.where(sure & (strength >= self.least) & (strength > rival), strength, 0.0)
        best = flagged.argmax(axis=0)
        return [names[one] if flagged[one, i] > 0 else "" for i, one in enumerate(best)]

    def _by_concept(
        self,
        material: Material,
        found: Sequence[Column],
        known: dict[str, Association],
        labels: dict[str, Float[np.ndarray, " example"]],
        rows: Int[np.ndarray, " row"],
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """A row for each concept's best latent (chosen on SELECT) and confounder, and what to warn of."""
        table, warnings = [], []
        firsts = _best_lists(material)
        for name, label in labels.items():
            if name not in firsts:
                continue
            best = firsts[name]
            value = np.asarray(material.strengths[:, [best]].toarray()).ravel()[rows]
            for one in found:
                judged = ~np.isnan(label[rows]) & one.known[rows]
                strata = _strata(one, one.values[rows][judged], self.strata)
                plain = stratified(value[judged], label[rows][judged] == 1, np.zeros(int(judged.sum()), dtype=int))
                within = stratified(value[judged], label[rows][judged] == 1, strata)
                flag = self._flag(known[one.name], best, plain, within)
                shown = material.postings.poles.name(best)
                table.append(
                    {
                        "concept": name,
                        "latent": str(shown),
                        "confounder": one.name,
                        "AUROC": plain[0],
                        "within strata": within[0],
                        "pairs within": within[1],
                        "association": float(known[one.name].strength[best]),
                        "q": float(known[one.name].q[best]),
                        "follows": f"follows {one.name}" if flag else "",
                    }
                )
                if flag:
                    warnings.append(
                        f"The best latent of {name}, {shown}, follows the confounder {one.name}: its AUROC is "
                        f"{plain[0]:.3f} on all test examples and {within[0]:.3f} where {one.name} is held fixed."
                    )
        return table, warnings

    def _flag(self, known: Association, best: int, plain: tuple[float, int], within: tuple[float, int]) -> bool:
        """Whether what the latent tells of the concept is mostly what it tells of the confounder: a sure association
        with either, and less than half of the AUROC's distance from chance left within strata."""
        if not (known.q[best] <= self.q and known.strength[best] >= self.least) or within[1] == 0:
            return False
        return (
            2 * abs(plain[0] - 0.5) >= self.least
            and (within[0] - 0.5) * np.sign(plain[0] - 0.5) < abs(plain[0] - 0.5) / 2
        )

    def _findings(
        self, known: dict[str, Association], follows: Sequence[str], table: Sequence[dict[str, Any]]
    ) -> list[Finding]:
        out = []
        for name, one in known.items():
            living = ~np.isnan(one.strength)
            if not living.any():
                continue
            out.append(
                Finding(
                    f"Latents that follow {name}",
                    float(sum(word == name for word in follows)),
                    int(living.sum()),
                    one.followed,
                    "as many clear its bars, but for q, with permuted labels",
                    kind="count",
                    remark=f"{int((one.q <= self.q).sum())} go with it at q ≤ {self.q:g}",
                )
            )
            out.append(
                Finding(
                    f"Mean association with {name}",
                    float(np.nanmean(one.strength)),
                    int(living.sum()),
                    float(np.nanmean(one.chance)),
                    "the same with permuted labels of it",
                    kind="share",
                )
            )
            mine = [row for row in table if row["confounder"] == name and np.isfinite(row["within strata"])]
            if mine:
                out.append(
                    Finding(
                        f"AUROC of the concepts' best latents within strata of {name}",
                        float(np.mean([row["within strata"] for row in mine])),
                        len(mine),
                        float(np.mean([row["AUROC"] for row in mine])),
                        "the same latents without strata",
                        kind="share",
                        remark=f"{sum(bool(row['follows']) for row in mine)} of {len(mine)} flagged",
                    )
                )
        return out


def stratified(
    value: Float[np.ndarray, " row"], positive: Bool[np.ndarray, " row"], strata: Int[np.ndarray, " row"]
) -> tuple[float, int]:
    """The AUROC over pairs of a positive and a negative within one stratum, and the number of these pairs; NaN where
    there is none."""
    won, pairs = 0.0, 0
    for stratum in np.unique(strata):
        inside = strata == stratum
        yes, no = int(positive[inside].sum()), int((~positive[inside]).sum())
        if yes and no:
            one = lean(centred_ranks(value[inside][:, None]), positive[inside][:, None].astype(np.float64))[0, 0]
            won += yes * no * (0.5 + 0.5 * float(one))
            pairs += yes * no
    return (won / pairs if pairs else float("nan")), pairs


def _arrangement(one: Column, values: Float[np.ndarray, " row"]) -> Float[np.ndarray, "row column"] | None:
    """What ranks are multiplied with: a 0/1 column of every class with enough examples, or the number's unit ranks."""
    if one.classes:
        counts = np.bincount(values.astype(int), minlength=len(one.classes))
        kept = [i for i, count in enumerate(counts) if min(count, len(values) - count) >= LEAST]
        return (values[:, None] == np.array(kept)[None]).astype(np.float64) if kept else None
    ranks = unit_ranks(values[:, None]) if len(values) else np.zeros((0, 1))
    return ranks if ranks.any() else None


def _strength(
    ranks: Float[np.ndarray, "row unit"], labels: Float[np.ndarray, "row column"], classes: bool
) -> Float[np.ndarray, " unit"]:
    found = lean(ranks, labels) if classes else ranks.T @ labels
    return np.asarray(np.abs(found).max(axis=1))


def _leans(
    material: Material, rows: Int[np.ndarray, " row"], labels: dict[str, Float[np.ndarray, " example"]]
) -> dict[str, Float[np.ndarray, " list"]]:
    """2·AUROC − 1 of every list for every concept on TEST. Concepts known of the same examples are told together, since
    ranking is what costs."""
    out = {name: np.zeros(len(material.postings.poles)) for name in labels}
    together: dict[bytes, list[str]] = {}
    for name, label in labels.items():
        together.setdefault((~np.isnan(label[rows])).tobytes(), []).append(name)
    for names in together.values():
        known = rows[~np.isnan(labels[names[0]][rows])]
        members = np.stack([labels[name][known] == 1 for name in names], axis=1).astype(np.float64)
        for part, found in blocks(material.strengths, known):
            for name, leaning in zip(names, lean(centred_ranks(found), members).T, strict=True):
                out[name][part] = leaning
    return out


def _with_q(known: dict[str, Association]) -> dict[str, Association]:
    """q-values over all lists and confounders together."""
    q = np.split(benjamini_hochberg(np.concatenate([one.p for one in known.values()])), len(known))
    return {name: replace(one, q=mine) for (name, one), mine in zip(known.items(), q, strict=True)}


def _best_lists(material: Material) -> dict[str, int]:
    """Each concept's list that ranked first on SELECT."""
    out: dict[str, int] = {}
    for name, number in zip(material.table["concept"], material.table["list"], strict=True):
        out.setdefault(str(name), int(number))
    return out


def _strata(one: Column, values: Float[np.ndarray, " row"], count: int) -> Int[np.ndarray, " row"]:
    """The class of every example, or the quantile its number falls in."""
    if one.classes:
        return values.astype(np.int64)
    edges = np.quantile(values, np.linspace(0, 1, count + 1)[1:-1])
    return np.searchsorted(np.unique(edges), values, side="right")
