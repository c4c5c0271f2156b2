"""Picking rows on the SELECT examples: every concept's best latents, and every latent's best concept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from omnisae.concepts.choose import best_f1
from omnisae.concepts.gather import chunks, gather
from omnisae.concepts.level import Level
from omnisae.concepts.weigh import sort, spearman, weigh
from omnisae.postings.postings import Postings

CELLS = 1 << 22
"""Pairs of latent and concept looked at in one go."""


@dataclass(frozen=True)
class Picks:
    """Rows of the table of one level: `latent` is a posting list (a latent, or one pole of it where codes are signed),
    `number` the concept's within the level, `chosen` its F1 on SELECT (|ρ| for fractions), `sign` the direction."""

    latent: Int64[np.ndarray, " row"]
    number: Int64[np.ndarray, " row"]
    threshold: Float64[np.ndarray, " row"]
    chosen: Float64[np.ndarray, " row"]
    sign: Float64[np.ndarray, " row"]

    def __len__(self) -> int:
        return len(self.latent)


@dataclass
class _Best:
    """The best latents of each column so far (rows: places), and each latent's best column."""

    score: Float64[np.ndarray, "place column"]
    latent: Int64[np.ndarray, "place column"]
    extra: Float64[np.ndarray, "place column"]
    latent_score: Float64[np.ndarray, " latent"]
    latent_column: Int64[np.ndarray, " latent"]
    latent_extra: Float64[np.ndarray, " latent"]

    @staticmethod
    def empty(top: int, columns: int, latents: int) -> "_Best":
        return _Best(
            np.full((top, columns), -1.0),
            np.full((top, columns), -1),
            np.zeros((top, columns)),
            np.full(latents, -1.0),
            np.full(latents, -1),
            np.zeros(latents),
        )

    def offer(
        self,
        latents: Int64[np.ndarray, " row"],
        score: Float64[np.ndarray, "row column"],
        extra: Float64[np.ndarray, "row column"],
    ) -> None:
        """More latents, ascending; of equal scores the earlier latent, and the earlier concept, stays ahead."""
        score = np.where(np.isnan(score), -1.0, score)
        all_scores = np.concatenate([self.score, score])
        order = np.argsort(-all_scores, axis=0, kind="stable")[: len(self.score)]
        self.score = np.take_along_axis(all_scores, order, axis=0)
        self.extra = np.take_along_axis(np.concatenate([self.extra, extra]), order, axis=0)
        names = np.concatenate([self.latent, np.broadcast_to(latents[:, None], score.shape)])
        self.latent = np.take_along_axis(names, order, axis=0)
        column = score.argmax(axis=1)
        rows = np.arange(len(latents))
        self.latent_score[latents] = score[rows, column]
        self.latent_column[latents] = column
        self.latent_extra[latents] = extra[rows, column]


def pick(
    postings: Postings, levels: Sequence[Level], thresholds: Float64[np.ndarray, " threshold"], top: int
) -> list[Picks]:
    """The rows of each level. Only latents that fire on SELECT, and only pairs that agree at all, are picked.

    A latent's best concept is sought among all classes, of tokens and of examples; where there are fractions, its best
    fraction makes a row too, since F1 and a correlation cannot be compared.
    """
    latents = np.flatnonzero(postings.counts_select > 0)
    best = [_classes(postings, level, latents, thresholds, top) for level in levels]
    ahead = np.stack([b.latent_score for b in best]).argmax(axis=0) if best else np.empty(0, dtype=np.int64)
    picks = []
    for i, (level, b) in enumerate(zip(levels, best, strict=True)):
        numbers = np.array(level.classes, dtype=np.int64)
        mine = np.flatnonzero((ahead == i) & (b.latent_score > 0))
        rows = list(_rows(b, numbers, mine))
        classes = _picks(rows, lambda extra: (thresholds[extra.astype(np.int64)], np.ones(len(extra))))
        if not level.fractions:
            picks.append(classes)
            continue
        f = _fractions(postings, level, latents, top)
        rows = list(_rows(f, np.array(level.fractions, dtype=np.int64), np.flatnonzero(f.latent_score > 0)))
        fractions = _picks(rows, lambda extra: (np.full(len(extra), np.nan), extra))
        both = [(getattr(classes, name), getattr(fractions, name)) for name in Picks.__annotations__]
        picks.append(Picks(*(np.concatenate(pair) for pair in both)))
    return picks


def _classes(
    postings: Postings,
    level: Level,
    latents: Int64[np.ndarray, " alive"],
    thresholds: Float64[np.ndarray, " threshold"],
    top: int,
) -> _Best:
    best = _Best.empty(top, len(level.classes), len(postings.poles))
    if level.classes:
        positives = level.select.positives()
        for part in chunks(postings, latents, rows=CELLS // len(level.labels.concepts) + 1):
            mine = latents[part]
            f1, bins = best_f1(
                gather(postings, level.select, mine), level.select, postings.maxima_select[mine], thresholds, positives
            )
            wanted = list(level.classes)
            best.offer(mine, f1[:, wanted], bins[:, wanted].astype(np.float64))
    return best


def _fractions(postings: Postings, level: Level, latents: Int64[np.ndarray, " alive"], top: int) -> _Best:
    best = _Best.empty(top, len(level.fractions), len(postings.poles))
    for part in chunks(postings, latents, rows=CELLS // len(level.fractions) + 1):
        mine = latents[part]
        activations = sort(gather(postings, level.select, mine))
        rho = np.empty((len(mine), len(level.fractions)))
        for column, number in enumerate(level.fractions):
            truth = level.select.truth(number)
            rho[:, column] = spearman(weigh(activations, truth), truth.known_values())
        best.offer(mine, np.abs(rho), np.where(rho < 0, -1.0, 1.0))
    return best


_Column = Float64[np.ndarray, " row"]
_Row = tuple[Int64[np.ndarray, " row"], Int64[np.ndarray, " row"], _Column, _Column]
_Read = Callable[[_Column], tuple[_Column, _Column]]
"""Threshold and sign out of what a row carries along."""


def _rows(best: _Best, numbers: Int64[np.ndarray, " column"], latents: Int64[np.ndarray, " mine"]) -> Iterator[_Row]:
    """Latent, concept, score and extra: of each concept's best latents, and of these latents' best concepts."""
    place, column = np.nonzero(best.score > 0)
    yield best.latent[place, column], numbers[column], best.score[place, column], best.extra[place, column]
    yield (
        latents,
        numbers[best.latent_column[latents]],
        best.latent_score[latents],
        best.latent_extra[latents],
    )


def _picks(rows: list[_Row], read: _Read) -> Picks:
    """Rows by concept, the best first, each once."""
    latent, number, score, extra = (np.concatenate(part) for part in zip(*rows, strict=True))
    _, first = np.unique(np.stack([number, latent]), axis=1, return_index=True)
    order = first[np.lexsort((latent[first], -score[first], number[first]))]
    threshold, sign = read(extra[order])
    return Picks(latent[order], number[order], threshold, score[order], sign)
