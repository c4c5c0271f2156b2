"""The study `recommendation.steering`: what switching a concept's latents off or on does to what is recommended."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.errors import DatasetError, did_you_mean
from omnisae.figure import Figure
from omnisae.interventions.effects import matched_controls
from omnisae.interventions.operation import Operation, scale, set_to
from omnisae.interventions.sae import SAE
from omnisae.studies.resample import generator, interval, p_value
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_recommendation.recommender import Recommender, recommender_of
from omnisae_recommendation.sessions import AXIS
from omnisae_recommendation.studies.lists import Edit, Lists, exposure, gains, hits, recommend, share
from omnisae_recommendation.studies.pages import before_and_after
from omnisae_recommendation.studies.ranking import rows_with_targets

WAYS = ("off", "on")


@dataclass(frozen=True)
class Shift:
    """What one edit changes, user by user: share and exposure of the concept among what is recommended, HR and NDCG."""

    share: Float[np.ndarray, " user"]
    exposure: Float[np.ndarray, " user"]
    hits: Float[np.ndarray, " user"]
    gains: Float[np.ndarray, " user"]


class Steering(Study):
    title: ClassVar[str] = "What do a concept's latents do to what is recommended?"
    about: ClassVar[str] = (
        "The latents that stand for a concept (chosen on select examples) are switched off, or set to a multiple of "
        "their largest value at the last event, and test users are recommended anew: the change of the share of the k "
        "best items that carry the concept, of their exposure (places weighted by 1 / log2(rank + 2)), and of HR@k and "
        "NDCG@k. Beside it the same of latents that fire as often; p is the chance that one of them shifts the share "
        "as far."
    )

    def __init__(
        self, concepts: Sequence[str] | None, most: int, latents: int, amount: float, k: int, controls: int, users: int,
        seen: bool, lists: int,
    ) -> None:  # fmt: skip
        self.concepts, self.most, self.latents, self.amount, self.k = concepts, most, latents, amount, k
        self.controls, self.users, self.seen, self.lists = controls, users, seen, lists

    def study(self, material: Material) -> Findings:
        recommender = recommender_of(material.extractor, "recommendation.steering")
        rows = rows_with_targets(material, self.users)
        sae = SAE.load(material.artifact).attach(recommender.model)
        if sae.signed:
            raise DatasetError(
                "a concept's latents are switched as a whole, and codes are signed", "use a rule without signed codes"
            )
        chosen = self._chosen(material, recommender)
        counts = np.asarray(material.postings.counts)
        (plain,) = recommend(recommender, rows.tolist(), [nullcontext], self.k, seen=self.seen)
        table: list[Mapping[str, Any]] = []
        figures: list[Figure] = []
        shifts: dict[str, list[tuple[Shift, list[Shift], float]]] = {way: [] for way in WAYS}
        for number, (name, latents) in enumerate(chosen.items()):
            has = recommender.sessions.concept(name)
            for way in WAYS:
                sets = [latents, *self._matched(material, latents, counts, name)]
                edits: list[Edit] = [
                    partial(sae.edit, recommender.model, *self._operations(material, one, way)) for one in sets
                ]
                lists = recommend(recommender, rows.tolist(), edits, self.k, seen=self.seen)
                own, *others = [self._shift(plain, one, has) for one in lists]
                sign = 1.0 if way == "on" else -1.0
                p = p_value(sign * own.share.mean(), np.array([sign * one.share.mean() for one in others]))
                shifts[way].append((own, others, p))
                table.append(self._row(name, latents, way, own, others, p, share(plain.top, has)))
                if number < self.lists:
                    figures += before_and_after(recommender.sessions, plain, lists[0], has, name, way)
        return Findings(
            self._findings(material, shifts, len(rows)),
            tables={"Concepts": table},
            figures=figures,
            notes=[
                f"{len(chosen)} concepts, at most {self.latents} latents each; {len(rows)} test users, {self.k} items"
            ],
        )

    def _chosen(self, material: Material, recommender: Recommender) -> dict[str, list[int]]:
        """Each concept's best latents on SELECT: its first rows in the concept table. Where none is named, of
        those with most positives on SELECT. Raises DatasetError where a named one was not scored."""
        table, items = material.table, set(recommender.sessions.concepts.names)
        known = {str(name): bare(str(name)) for name in table["concept"] if bare(str(name)) in items}
        wanted = list(known) if self.concepts is None else list(self.concepts)
        for name in wanted:
            if name not in known:
                raise DatasetError(f"no concept of items that was scored is called {name!r}", did_you_mean(name, known))
        if not wanted:
            raise DatasetError("no concept of items was scored", "lower score.min_positives, or add users")
        if self.concepts is None:
            positives = {name: float(table["n_select"][table["concept"] == name][0]) for name in wanted}
            wanted = sorted(wanted, key=lambda name: -positives[name])[: self.most]
        return {
            known[name]: [int(one) for one in table["latent"][table["concept"] == name][: self.latents]]
            for name in wanted
        }

    def _matched(
        self, material: Material, latents: Sequence[int], counts: Int[np.ndarray, " list"], name: str
    ) -> list[list[int]]:
        """Sets of other latents, each firing as often as the one whose place it takes."""
        seed = int(generator(material, f"steering {name}").integers(2**31))
        found = matched_controls(counts.tolist(), latents, each=self.controls, seed=seed)
        columns = [found[latent] for latent in latents]
        return [[column[i] for column in columns] for i in range(min(len(column) for column in columns))]

    def _operations(self, material: Material, latents: Sequence[int], way: str) -> list[Operation]:
        if way == "off":
            return [scale(latents, 0.0)]
        hook = material.postings.hook
        mask = None
        if AXIS in hook.axes and "last" not in hook.roles and "mask" not in hook.roles:
            size = hook.known_sizes[AXIS] or 0
            mask = {AXIS: (size - 1, size)}
        return [set_to(latents, self.amount, unit="max", mask=mask)]

    def _shift(self, plain: Lists, edited: Lists, has: Bool[np.ndarray, " item"]) -> Shift:
        return Shift(
            share(edited.top, has) - share(plain.top, has),
            exposure(edited.top, has) - exposure(plain.top, has),
            hits(edited.rank, self.k) - hits(plain.rank, self.k),
            gains(edited.rank, self.k) - gains(plain.rank, self.k),
        )

    def _row(
        self, name: str, latents: Sequence[int], way: str, own: Shift, others: Sequence[Shift], p: float,
        before: Float[np.ndarray, " user"],
    ) -> dict[str, Any]:  # fmt: skip
        def control(what: str) -> float:
            return float(np.mean([getattr(one, what).mean() for one in others])) if others else float("nan")

        return {
            "concept": name, "latents": ", ".join(map(str, latents)), "switched": way,
            "share before": float(before.mean()),
            "shift of share": float(own.share.mean()), "of others": control("share"), "p": p,
            "shift of exposure": float(own.exposure.mean()), f"shift of HR@{self.k}": float(own.hits.mean()),
            f"shift of NDCG@{self.k}": float(own.gains.mean()), "of others (NDCG)": control("gains"),
        }  # fmt: skip

    def _findings(
        self, material: Material, shifts: Mapping[str, list[tuple[Shift, list[Shift], float]]], users: int
    ) -> list[Finding]:
        out = []
        random = generator(material, "steering intervals")
        what = (
            ("share", "share of the concept"),
            ("exposure", "exposure"),
            ("hits", f"HR@{self.k}"),
            ("gains", f"NDCG@{self.k}"),
        )
        for way in WAYS:
            for key, words in what:
                own = np.array([getattr(one, key).mean() for one, _, _ in shifts[way]])
                other = [getattr(one, key).mean() for _, others, _ in shifts[way] for one in others]
                furthest = f"further than all others for {_furthest(shifts[way])} of {len(own)}; "
                out.append(
                    Finding(
                        f"Switched {way}: shift of {words}", float(own.mean()), len(own),
                        float(np.mean(other)) if other else float("nan"), "latents that fire as often",
                        *interval(own, random), kind="signed",
                        remark=(furthest if key == "share" else "") + f"{users} test users",
                    )
                )  # fmt: skip
        return out


def _furthest(shifts: Sequence[tuple[Shift, list[Shift], float]]) -> int:
    """For how many concepts no other set of latents shifts the share as far: p is as small as it can be."""
    return sum(p <= 1 / (1 + len(others)) + 1e-9 for _, others, p in shifts if others)


def bare(name: str) -> str:
    """A concept of items by the name of a concept of histories: `share:genre=war` is of `genre=war`."""
    head, _, rest = name.partition(":")
    return rest if head in ("share", "last") else name
