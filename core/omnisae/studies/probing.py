"""Sparse probing: how well a few latents tell a concept, beside as many neurons and principal components."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.studies import probes
from omnisae.studies.columns import concepts
from omnisae.studies.components import Components
from omnisae.studies.pooled import Pool
from omnisae.studies.resample import folds as folded
from omnisae.studies.resample import generator, in_pairs, interval
from omnisae.studies.study import Finding, Findings, Material, Study

Score = tuple[float, float]
"""AUROC and accuracy on TEST."""


class Probing(Study):
    title = "Do a few latents tell a concept apart?"
    about = (
        "Logistic regression on the k latents whose means differ most by the concept on select examples, fitted there "
        "and judged on test examples (Gurnee et al. 2023; SAEBench, Karvonen et al. 2025). Beside it as many of the "
        "model's own neurons and principal components, chosen alike, and probes on all of them."
    )

    def __init__(self, k: Sequence[int], pool: Pool, names: Sequence[str] | None, components: int) -> None:
        self.k, self.pool, self.names, self.components = sorted(set(k)), pool, names, components

    def study(self, material: Material) -> Findings:
        select, test = material.rows(SELECT), material.rows(TEST)
        sides = self._sides(material, select, test)
        folds = folded(material, select, probes.FOLDS)
        table: list[dict[str, Any]] = []
        for name, label in concepts(material, self.names):
            table.append(self._concept(material, name, label[select], label[test], sides, folds))
        if not table:
            raise DatasetError(
                "no binary concept has five examples with and five without on either side of the split",
                "give whole-example labels or regions, or more examples",
            )
        return Findings(
            findings=self._findings(material, table),
            tables={
                f"{score} on test examples, by concept": [
                    {key: row[key] for key in ("concept", "positives on test")} | row[score] for row in table
                ]
                for score in ("AUROC", "Accuracy")
            },
            notes=[f"Codes and activations are pooled over an example's tokens by their {self.pool}."],
        )

    def _sides(
        self, material: Material, select: Int[np.ndarray, " row"], test: Int[np.ndarray, " row"]
    ) -> Mapping[str, tuple[Any, Any]]:
        """What each family reads on SELECT and on TEST, scaled by what SELECT shows."""
        codes = (material.means if self.pool == "mean" else material.strengths).tocsr()
        neurons = [material.activations(rows, self.pool) for rows in (select, test)]
        components = Components(neurons[0], self.components)
        raw = {
            "latents": (codes[select], codes[test]),
            "neurons": (neurons[0], neurons[1]),
            "components": (components(neurons[0]), components(neurons[1])),
        }
        scaled = {}
        for family, (one, other) in raw.items():
            scale = probes.Scaled(one)
            scaled[family] = (scale(one), scale(other))
        return scaled

    def _concept(
        self,
        material: Material,
        name: str,
        select: Float[np.ndarray, " row"],
        test: Float[np.ndarray, " row"],
        sides: Mapping[str, tuple[Any, Any]],
        folds: Int[np.ndarray, " row"],
    ) -> dict[str, Any]:
        """The AUROC and accuracy of every probe. Examples of which the concept is unknown are left out."""
        known, judged = ~np.isnan(select), ~np.isnan(test)
        truth, wanted = select[known] == 1, test[judged] == 1
        order = {
            family: np.argsort(-probes.differences(one[known], truth), kind="stable")
            for family, (one, _) in sides.items()
        }
        best = ", ".join(str(material.postings.poles.name(int(i))) for i in order["latents"][:3])
        scores: dict[str, Score] = {}
        for family, (one, other) in sides.items():
            for k in self.k:
                scores[few(k, family)] = _probe(one[known], other[judged], order[family][:k], truth, wanted)
        for family in ("latents", "neurons"):
            one, other = sides[family]
            strength = probes.choose_strength(one[known], truth, folds[known])
            scores[f"all {family}"] = probes.judge(probes.fit(one[known], truth, strength), other[judged], wanted)
        majority = float(max(wanted.mean(), 1 - wanted.mean()))
        return {
            "concept": name,
            "positives on test": int(wanted.sum()),
            "AUROC": {"best latents": best} | {key: score[0] for key, score in scores.items()},
            "Accuracy": {"majority": majority} | {key: score[1] for key, score in scores.items()},
        }

    def _findings(self, material: Material, table: Sequence[Mapping[str, Any]]) -> list[Finding]:
        """Means over the concepts, with intervals by drawing concepts again."""
        random = generator(material, "probing")
        found = []
        for k in self.k:
            for family, noun in (("neurons", "the model's neurons"), ("components", "principal components")):
                against = f"{k} of {noun}, chosen alike"
                found.append(_mean(table, few(k, "latents"), few(k, family), against, random, f", against {family}"))
        whole = "a linear probe on the model's own activations"
        found.append(_mean(table, "all latents", "all neurons", whole, random, ""))
        for k in self.k:
            found.append(_accuracy(table, few(k, "latents"), random))
        found.append(_accuracy(table, "all latents", random))
        return found


def few(k: int, family: str) -> str:
    """`1 latent`, `4 latents`."""
    return f"{k} {family if k != 1 else family[:-1]}"


def _probe(
    one: Any,
    other: Any,
    units: Int[np.ndarray, " unit"],
    truth: Bool[np.ndarray, " row"],
    wanted: Bool[np.ndarray, " row"],
) -> Score:
    probe = probes.fit(one[:, units], truth)
    return probes.judge(probe, other[:, units], wanted)


def _mean(
    table: Sequence[Mapping[str, Any]], mine: str, other: str, against: str, random: np.random.Generator, what: str
) -> Finding:
    values, controls = (np.array([row["AUROC"][key] for row in table]) for key in (mine, other))
    low, high = interval(values, random)
    return Finding(
        f"AUROC, {mine}{what}",
        float(values.mean()),
        len(table),
        float(controls.mean()),
        against,
        low,
        high,
        kind="share",
        remark=in_pairs(values, controls, random),
    )


def _accuracy(table: Sequence[Mapping[str, Any]], mine: str, random: np.random.Generator) -> Finding:
    values, always = (np.array([row["Accuracy"][key] for row in table]) for key in (mine, "majority"))
    low, high = interval(values, random)
    against = "always saying what is more frequent"
    return Finding(
        f"Accuracy, {mine}", float(values.mean()), len(table), float(always.mean()), against, low, high, kind="share"
    )
