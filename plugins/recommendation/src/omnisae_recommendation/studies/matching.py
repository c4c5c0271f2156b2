"""The study `recommendation.matching`: latents against items' concepts, beside events with items as popular."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Int
from scipy.sparse import csr_array
from scipy.stats import false_discovery_control

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.studies.resample import generator, interval, p_value
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_recommendation.studies.held import Held, counts, f1, held, matched

LEVELS = (0.0, 0.1, 0.25, 0.5)
"""Levels above which a latent counts as firing, in shares of its largest value on SELECT."""


@dataclass(frozen=True)
class Match:
    """The best list of one concept, chosen on SELECT, and what it does on TEST. `n` are the TEST events, half of them
    positive."""

    list: int
    level: float
    precision: float
    recall: float
    f1: float
    n: int


class Matching(Study):
    title: ClassVar[str] = "Do latents tell a concept's items from others that are as popular?"
    about: ClassVar[str] = (
        "For each concept of items, events with it and as many without, drawn among events whose items are as popular "
        "(classes of as many events each). The latent and the level above which it fires are those of the largest F1 "
        "on select events; precision, recall and F1 are of test events of other users. Chance: the same, choice and "
        "all, with the concept dealt anew among items as popular. After RecSAE (Wang et al. 2024), whose own score is "
        "not public."
    )

    def __init__(self, least: int, most: int, permutations: int) -> None:
        self.least, self.most, self.permutations = least, most, permutations

    def study(self, material: Material) -> Findings:
        events = held(material, "recommendation.matching")
        names = events.sessions.concepts.names
        able = [i for i in range(len(names)) if self._enough(events, events.sessions.concepts.has[:, i])]
        if not able:
            raise DatasetError(
                f"no concept of items has {self.least} events with and without it on either side",
                "set `least` lower, or name attributes in dataset.concepts",
            )
        scales = _scales(events)
        found: dict[int, Match] = {}
        nulls: dict[int, np.ndarray] = {}
        for concept in able:
            has, random = events.sessions.concepts.has[:, concept], generator(material, f"matching {names[concept]}")
            found[concept] = self.match(events, has, scales, random)
            dealt = (deal(has, events.bin, random) for _ in range(self.permutations))
            nulls[concept] = np.array([self.match(events, one, scales, random).f1 for one in dealt])
        p = np.array([p_value(found[c].f1, nulls[c]) for c in able])
        q = false_discovery_control(p)
        return self._told(
            material, events, [names[c] for c in able], [found[c] for c in able], list(nulls.values()), p, q
        )

    def match(
        self, events: Held, has: Bool[np.ndarray, " item"], scales: np.ndarray, random: np.random.Generator
    ) -> Match:
        """The best list for a set of items."""
        picks = {}
        for side in (SELECT, TEST):
            rows = events.on(side)
            at, positive = matched(has[events.item[rows] - 1], events.bin[events.item[rows] - 1], self.most, random)
            picks[side] = (rows[at], positive)
        rows, positive = picks[SELECT]
        best, level = _best(events.codes[rows], positive, scales)
        rows, positive = picks[TEST]
        tp, fp = counts(events.codes[rows][:, [best]], positive, np.array([level * scales[best]]))
        n = int(positive.sum())
        precision = float(tp[0] / max(tp[0] + fp[0], 1))
        return Match(best, level, precision, float(tp[0] / max(n, 1)), float(f1(tp, fp, n)[0]), len(rows))

    def _enough(self, events: Held, has: Bool[np.ndarray, " item"]) -> bool:
        sides = [has[events.item[events.on(side)] - 1] for side in (SELECT, TEST)]
        return all(min(side.sum(), (~side).sum()) >= self.least for side in sides)

    def _told(
        self, material: Material, events: Held, names: list[str], found: list[Match], nulls: list[np.ndarray],
        p: np.ndarray, q: np.ndarray,
    ) -> Findings:  # fmt: skip
        random, poles = generator(material, "matching intervals"), material.postings.poles
        out = []
        for what in ("f1", "precision", "recall"):
            values = np.array([getattr(one, what) for one in found])
            control = float(np.mean([null.mean() for null in nulls])) if what == "f1" else 0.5
            against = (
                "concepts dealt anew among items as popular" if what == "f1" else "firing at random half of the time"
            )
            label = {"f1": "F1", "precision": "Precision", "recall": "Recall"}[what]
            out.append(
                Finding(f"{label}, mean over concepts", float(values.mean()), len(found), control, against,
                        *interval(values, random), kind="share")
            )  # fmt: skip
        told = int((q <= 0.05).sum())
        out.append(
            Finding("Concepts that a latent tells", told, len(found), 0.0, "none, by the null", kind="count",
                    remark="q ≤ 0.05, Benjamini and Hochberg")
        )  # fmt: skip
        rows: list[Mapping[str, Any]] = [
            {
                "concept": name, "latent": str(poles.name(one.list)), "F1": one.f1, "by chance": float(null.mean()),
                "precision": one.precision, "recall": one.recall, "p": float(p[i]), "q": float(q[i]),
                "test events": one.n,
            }
            for i, (name, one, null) in enumerate(zip(names, found, nulls, strict=True))
        ]  # fmt: skip
        rows.sort(key=lambda row: -(row["F1"] - row["by chance"]))
        stands: list[list[str]] = [[] for _ in range(len(poles))]
        best = np.full(len(poles), np.nan)
        for name, one in zip(names, found, strict=True):
            stands[one.list].append(name)
            best[one.list] = np.fmax(best[one.list], one.f1)
        measures = [
            Measure(
                "tells items", [", ".join(one) for one in stands], "concepts of items whose best latent it is", "text"
            ),
            Measure(
                "tells items F1", best, "the largest F1 of these on test events, with negatives as popular", "share"
            ),
        ]
        return Findings(out, measures, tables={"Concepts": rows})


def deal(
    has: Bool[np.ndarray, " item"], bin_of: Int[np.ndarray, " item"], random: np.random.Generator
) -> Bool[np.ndarray, " item"]:
    """The concept dealt anew among the items of each class of popularity."""
    out = has.copy()
    for kind in np.unique(bin_of):
        where = np.flatnonzero(bin_of == kind)
        out[where] = has[random.permutation(where)]
    return out


def _scales(events: Held) -> np.ndarray:
    """Each list's largest value on SELECT."""
    rows = events.on(SELECT)
    return np.asarray(events.codes[rows].max(axis=0).todense()).ravel().astype(np.float64)


def _best(codes: csr_array, positive: Bool[np.ndarray, " row"], scales: np.ndarray) -> tuple[int, float]:
    """The list and level of the largest F1; the lower level, then the lower number, among equals."""
    n = int(positive.sum())
    scores = np.stack([f1(*counts(codes, positive, level * scales), n) for level in LEVELS])
    at = int(np.argmax(scores))
    return at % scores.shape[1], LEVELS[at // scores.shape[1]]
