"""Controls: neurons, principal components and random directions, by the protocol that latents go through.

Unit and threshold are chosen on SELECT, on activations max(0, (x − mean)·w) divided by their maximum on SELECT, and
scored on TEST. For fractions the choice is by |Spearman| of the activation before rectification.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64

from omnisae.concepts.dense import DenseCounts
from omnisae.concepts.directions import Family, families
from omnisae.concepts.gather import Activations
from omnisae.concepts.level import Level
from omnisae.concepts.weigh import sort, spearman, weigh
from omnisae.config import ControlsConfig
from omnisae.errors import StoreError
from omnisae.extract.split import SELECT, TEST
from omnisae.postings.postings import Postings
from omnisae.store.source import TokenSource

BUDGET = 1 << 25
"""Counts, or pooled activations, held at a time."""
BATCH = 4096

Found = dict[str, Any]
"""What is told of one concept's best control."""


@dataclass(frozen=True)
class Controls:
    """`best[level][number][family]` tells each concept's best control; `units` how many each family has."""

    best: list[dict[int, dict[str, Found]]]
    units: dict[str, int]


def controls(
    postings: Postings,
    source: TokenSource,
    levels: Sequence[Level],
    thresholds: Float64[np.ndarray, " t"],
    config: ControlsConfig,
    seed: int,
) -> Controls:
    """The best control of every family for every concept. Reads the tokens from the source, three times a family or so.

    Raises StoreError where the source's tokens are not those that were encoded.
    """
    mean, found = families(postings, source, config, seed)
    best: list[dict[int, dict[str, Found]]] = [{n: {} for n in (*v.classes, *v.fractions)} for v in levels]
    if levels and found:
        reader = _Reader(postings, source, mean)
        ceilings = reader.ceilings(found)
        for family in found:
            _Contest(reader, levels, thresholds, family, ceilings[family.name]).run(best)
    return Controls(best, {family.name: family.slots for family in found})


class _Contest:
    """One family against all concepts."""

    def __init__(
        self,
        reader: "_Reader",
        levels: Sequence[Level],
        thresholds: Float64[np.ndarray, " t"],
        family: Family,
        ceilings: Float32[np.ndarray, " slot"],
    ) -> None:
        self._reader, self._levels, self._thresholds = reader, levels, thresholds
        self._family, self._ceilings = family, ceilings

    def run(self, best: list[dict[int, dict[str, Found]]]) -> None:
        """Choose on SELECT block by block of slots, then judge the winners on TEST."""
        family = self._family
        chosen: dict[tuple[int, int], Found] = {}
        for start in range(0, family.slots, step := self._step()):
            slots = np.arange(start, min(start + step, family.slots))
            for key, score, slot, threshold in self._scores(slots, SELECT):
                if key not in chosen or abs(score) > abs(chosen[key]["score"]):
                    chosen[key] = {"score": score, "slot": slot, "threshold": threshold}
        if not chosen:
            return
        winners = np.unique([found["slot"] for found in chosen.values()])
        judged = {key: score for key, score, _, _ in self._scores(winners, TEST, chosen)}
        for (i, number), found in chosen.items():
            unit, sign = family.name_slot(found["slot"])
            score = judged[(i, number)]
            told: Found = {"unit": unit, "sign": sign, "units": family.slots}
            if number in self._levels[i].classes:
                told |= {"f1_select": found["score"], "f1": score, "threshold": found["threshold"]}
            else:
                told |= {"spearman_select": found["score"], "spearman": score, "threshold": None}
            best[i][number][family.name] = told

    def _step(self) -> int:
        """How many slots are held at a time."""
        cells = sum(len(v.labels.concepts) for v in self._levels) * (len(self._thresholds) + 1)
        pooled = max((len(side) for v in self._levels if v.fractions for side in (v.select, v.test)), default=0)
        return max(64, BUDGET // max(1, cells, pooled))

    def _scores(
        self, slots: Int64[np.ndarray, " slot"], side: int, only: dict[tuple[int, int], Found] | None = None
    ) -> Iterator[tuple[tuple[int, int], float, int, float]]:
        """(level, concept), score, slot and threshold of the best of these slots; or of the ones chosen before."""
        sides = [v.select if side == SELECT else v.test for v in self._levels]
        counts = [
            DenseCounts(stream, self._ceilings[slots], self._thresholds) if v.classes else None
            for v, stream in zip(self._levels, sides, strict=True)
        ]
        pooled = [
            np.zeros((len(slots), len(stream)), dtype=np.float32) if v.fractions else None
            for v, stream in zip(self._levels, sides, strict=True)
        ]
        part = (
            self._family.take(slots.tolist(), self._reader.width) if len(slots) < self._family.slots else self._family
        )
        for i, units, values in self._reader.units(part, side, self._levels):
            counted, kept = counts[i], pooled[i]
            if counted is not None:
                counted.add(values, units)
            if kept is not None:
                position = sides[i].position[units]
                kept[:, position[position >= 0]] = values[position >= 0].T
        for i, level in enumerate(self._levels):
            counted, kept = counts[i], pooled[i]
            if counted is not None:
                hits, predicted = counted.tables()
                positives = sides[i].positives()
                for number in level.classes:
                    with np.errstate(invalid="ignore", divide="ignore"):
                        f1 = np.nan_to_num(2 * hits[number] / (predicted[number] + positives[number]))
                    yield self._class_score((i, number), f1, slots, only)
            if kept is not None:
                activations = sort(_dense(kept))
                for number in level.fractions:
                    truth = sides[i].truth(number)
                    rho = np.nan_to_num(spearman(weigh(activations, truth), truth.known_values()))
                    yield self._fraction_score((i, number), rho, slots, only)

    def _class_score(
        self,
        key: tuple[int, int],
        f1: Float64[np.ndarray, "slot t"],
        slots: Int64[np.ndarray, " slot"],
        only: dict[tuple[int, int], Found] | None,
    ) -> tuple[tuple[int, int], float, int, float]:
        if only is None:
            slot, level = np.unravel_index(int(f1.argmax()), f1.shape)
        else:
            slot = np.searchsorted(slots, only[key]["slot"])
            level = np.searchsorted(self._thresholds, only[key]["threshold"])
        return key, float(f1[slot, level]), int(slots[slot]), float(self._thresholds[level])

    @staticmethod
    def _fraction_score(
        key: tuple[int, int],
        rho: Float64[np.ndarray, " slot"],
        slots: Int64[np.ndarray, " slot"],
        only: dict[tuple[int, int], Found] | None,
    ) -> tuple[tuple[int, int], float, int, float]:
        slot = int(np.abs(rho).argmax()) if only is None else int(np.searchsorted(slots, only[key]["slot"]))
        return key, float(rho[slot]), int(slots[slot]), 0.0


def _dense(values: Float32[np.ndarray, "slot unit"]) -> Activations:
    """Dense rows in the form of sparse ones: no unit is silent."""
    slots, n = values.shape
    starts = np.arange(slots, dtype=np.int64) * n
    return Activations(starts, starts + n, np.tile(np.arange(n, dtype=np.int32), slots), values.ravel())


@dataclass
class _Pool:
    """The largest activations of the example at hand, which may go on in the next batch."""

    rows: Int64[np.ndarray, " example"] | None = None
    values: Float32[np.ndarray, "example slot"] | None = None

    def add(
        self, rows: Int64[np.ndarray, " token"], values: Float32[np.ndarray, "token slot"]
    ) -> tuple[Int64[np.ndarray, " done"], Float32[np.ndarray, "done slot"]]:
        """The examples that are over, given the next tokens; the last one is kept back."""
        if self.rows is not None and self.values is not None:
            rows, values = np.concatenate([self.rows, rows]), np.concatenate([self.values, values])
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        rows, values = rows[starts], np.maximum.reduceat(values, starts, axis=0)
        self.rows, self.values = rows[-1:], values[-1:]
        return rows[:-1], values[:-1]


class _Reader:
    """The encoded tokens' activations, centred, read from the source side by side with the token table."""

    def __init__(self, postings: Postings, source: TokenSource, mean: Float32[torch.Tensor, " width"]) -> None:
        self._postings, self._source, self._mean = postings, source, mean
        self.width = postings.hook.own_width

    def ceilings(self, found: Sequence[Family]) -> dict[str, Float32[np.ndarray, " slot"]]:
        """The largest activation of every slot on SELECT."""
        out = {family.name: np.zeros(family.slots, dtype=np.float32) for family in found}
        for _, centred in self._tokens(SELECT):
            for family in found:
                np.maximum(out[family.name], family.values(centred).max(axis=0), out=out[family.name])
        return out

    def units(
        self, family: Family, side: int, levels: Sequence[Level]
    ) -> Iterator[tuple[int, Int64[np.ndarray, " unit"], Float32[np.ndarray, "unit slot"]]]:
        """Level, units and their activations, batch by batch; examples take the largest over their tokens."""
        by_level = {level.labels.level: i for i, level in enumerate(levels)}
        pool = _Pool()
        for tokens, centred in self._tokens(side):
            values = family.values(centred)
            if "token" in by_level:
                yield by_level["token"], tokens, values
            if "example" in by_level:
                rows, pooled = pool.add(self._postings.example[tokens].astype(np.int64), values)
                if len(rows):
                    yield by_level["example"], rows, pooled
        if pool.rows is not None and pool.values is not None:
            yield by_level["example"], pool.rows, pool.values

    def _tokens(self, side: int) -> Iterator[tuple[Int64[np.ndarray, " token"], Float32[torch.Tensor, "token width"]]]:
        examples: Bool[np.ndarray, " example"] = self._postings.split == side
        here = np.flatnonzero(examples[self._postings.example])
        at = 0
        for batch in self._source.sequential(self._postings.manifest.keep_on(side), examples, BATCH):
            if len(batch) == 0:
                continue
            tokens = here[at : at + len(batch)]
            at += len(batch)
            if not np.array_equal(self._postings.example[tokens], batch.example.cpu().numpy()):
                raise StoreError(
                    f"the tokens of {self._postings.hook.name!r} are not those encoded in {self._postings.path}",
                    "encode again: the store, the split or the token filter has changed since",
                )
            yield tokens, batch.values[:, : self.width].detach().cpu() - self._mean
        if at != len(here):
            raise StoreError(
                f"{self._postings.path} holds {len(here)} tokens of this side and the source gave {at}",
                "encode again: the store, the split or the token filter has changed since",
            )
