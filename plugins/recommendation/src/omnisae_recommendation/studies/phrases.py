"""The study `recommendation.phrases`: a phrase for every latent out of its items' texts, and its confidence."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.plugins.kinds import ExplainerConfig
from omnisae.studies.explainer import Case
from omnisae.studies.explainers.tfidf import words
from omnisae.studies.resample import generator, in_pairs, interval
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_recommendation.studies.held import Held, held, matched


@dataclass(frozen=True)
class Belief:
    """How a phrase tells, on TEST events half of which fire: of the events whose item's text has one of its words,
    `precision` fire; of those that fire, `recall` have one. `confidence` is their harmonic mean. `n` events."""

    precision: float
    recall: float
    confidence: float
    n: int


class Phrases(Study):
    title: ClassVar[str] = "What is common to the items of a latent, in words?"
    about: ClassVar[str] = (
        "The items at whose events a latent is strongest on select examples, their titles and attributes, are turned "
        "into a phrase. On test events, half of them firing and the others with items as popular, the phrase predicts "
        "that the latent fires where the item's text has one of its words: precision, recall, and their harmonic mean, "
        "the confidence (after RecSAE, Wang et al. 2024). Beside it phrases traded among the latents."
    )

    def __init__(self, explainer: ExplainerConfig, items: int, most: int, least: int, draws: int) -> None:
        self.explainer, self.items, self.most, self.least, self.draws = explainer, items, most, least, draws

    def study(self, material: Material) -> Findings:
        events = held(material, "recommendation.phrases")
        lists = self._lists(events)
        if not len(lists):
            raise DatasetError(
                f"no latent fires at {self.least} select and {self.least} test events",
                "set `least` lower, or add users",
            )
        texts = [events.sessions.items.text(item) for item in range(len(events.sessions.items.ids))]
        cases = [
            Case(str(material.postings.poles.name(int(one))), tuple(texts[i] for i in self._top(events, int(one))))
            for one in lists
        ]
        phrases = self.explainer.build().phrases(cases, texts)
        vocabulary = [frozenset(words(text)) for text in texts]
        says = [np.array([bool(set(words(phrase)) & own) for own in vocabulary]) for phrase in phrases]
        picks = [self._pick(events, int(one), generator(material, f"phrases {one}")) for one in lists]
        mine = [self._belief(events, says[i], *picks[i]) for i in range(len(lists))]
        traded = self._traded(material, events, says, picks)
        return self._told(material, lists, cases, phrases, mine, traded)

    def _lists(self, events: Held) -> Int[np.ndarray, " list"]:
        """The lists that fire at enough events of either side, the most frequent first."""
        fires = [
            np.bincount(events.codes[events.on(side)].indices, minlength=events.codes.shape[1])
            for side in (SELECT, TEST)
        ]
        able = np.flatnonzero((fires[0] >= self.least) & (fires[1] >= self.least))
        return able[np.argsort(-(fires[0] + fires[1])[able], kind="stable")][: self.most]

    def _top(self, events: Held, one: int) -> list[int]:
        """The items (number − 1) at whose SELECT events a list is strongest in the mean, one event counting half."""
        rows = events.on(SELECT)
        value = np.asarray(events.codes[rows][:, [one]].toarray()).ravel()
        item = events.item[rows] - 1
        total = np.bincount(item, value, minlength=len(events.bin))
        seen = np.bincount(item, minlength=len(events.bin))
        mean = total / (seen + 1)
        return [int(i) for i in np.argsort(-mean, kind="stable")[: self.items] if mean[i] > 0]

    def _pick(
        self, events: Held, one: int, random: np.random.Generator
    ) -> tuple[Int[np.ndarray, " pick"], Bool[np.ndarray, " pick"]]:
        """TEST events of which half fire, with items as popular: their items (number − 1), and which fire."""
        rows = events.on(TEST)
        item = events.item[rows] - 1
        fires = np.asarray(events.codes[rows][:, [one]].toarray()).ravel() > 0
        at, positive = matched(fires, events.bin[item], 1000, random)
        return item[at], positive

    def _belief(
        self,
        events: Held,
        says: Bool[np.ndarray, " item"],
        item: Int[np.ndarray, " pick"],
        fires: Bool[np.ndarray, " pick"],
    ) -> Belief:
        predicted = says[item]
        tp, fp, n = int((predicted & fires).sum()), int((predicted & ~fires).sum()), int(fires.sum())
        return Belief(tp / max(tp + fp, 1), tp / max(n, 1), 2 * tp / max(tp + fp + n, 1), len(item))

    def _traded(self, material: Material, events: Held, says: Any, picks: Any) -> Float[np.ndarray, " list"]:
        """Each latent's mean confidence under phrases of others."""
        random, n = generator(material, "phrases traded"), len(says)
        out = np.zeros(n)
        for _ in range(self.draws):
            step = int(random.integers(1, n)) if n > 1 else 0
            order = random.permutation(n)
            for place, i in enumerate(order):
                out[i] += self._belief(events, says[order[(place + step) % n]], *picks[i]).confidence / self.draws
        return out

    def _told(
        self, material: Material, lists: np.ndarray, cases: list[Case], phrases: list[str], mine: list[Belief],
        traded: np.ndarray,
    ) -> Findings:  # fmt: skip
        random, poles = generator(material, "phrases intervals"), material.postings.poles
        confidence = np.array([one.confidence for one in mine])
        out = [
            Finding(
                "Confidence, mean over latents", float(confidence.mean()), len(lists), float(traded.mean()),
                "phrases of other latents", *interval(confidence, random), kind="share",
                remark=in_pairs(confidence, traded, random),
            )
        ]  # fmt: skip
        for what in ("precision", "recall"):
            values = np.array([getattr(one, what) for one in mine])
            said = "firing half of the time" if what == "precision" else ""
            control = 0.5 if what == "precision" else float("nan")
            out.append(
                Finding(f"{what.capitalize()}, mean over latents", float(values.mean()), len(lists), control, said,
                        *interval(values, random), kind="share")
            )  # fmt: skip
        texts, sure = [""] * len(poles), np.full(len(poles), np.nan)
        for i, one in enumerate(lists):
            texts[int(one)], sure[int(one)] = phrases[i], confidence[i]
        order = np.argsort(-(confidence - traded), kind="stable")
        rows = [
            {
                "latent": cases[i].name, "phrase": phrases[i], "confidence": mine[i].confidence,
                "traded": float(traded[i]),
                "precision": mine[i].precision, "recall": mine[i].recall, "test events": mine[i].n,
                "strongest items": "; ".join(cases[i].texts[:3]),
            }
            for i in order
        ]  # fmt: skip
        measures = [
            Measure(
                "phrase", texts, "what its strongest items have in common, out of their titles and attributes", "text"
            ),
            Measure("confidence", sure, "how well the phrase predicts on test events where it fires", "share"),
        ]
        return Findings(out, measures, tables={"Phrases": rows[:40]}, notes=[f"phrases by {self.explainer.type}"])
