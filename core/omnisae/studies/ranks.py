"""Ranks of many units at once: AUROC and Spearman's correlation as products with a matrix of mid-ranks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

UNITS = 512
"""Columns that are ranked at a time: a dense block of them is held."""


def dense(values: Any, rows: Int[np.ndarray, " row"] | None = None) -> Float[np.ndarray, "row unit"]:
    """Chosen rows of a matrix, scipy-sparse or dense, as a dense one."""
    picked = values if rows is None else values[rows]
    return np.asarray(picked.toarray() if hasattr(picked, "toarray") else picked)


def blocks(values: Any, rows: Int[np.ndarray, " row"]) -> Iterator[tuple[slice, Float[np.ndarray, "row unit"]]]:
    """The chosen rows, a dense block of columns at a time."""
    picked = values.tocsr()[rows].tocsc() if hasattr(values, "tocsr") else np.asarray(values)[rows]
    for start in range(0, picked.shape[1], UNITS):
        part = slice(start, min(start + UNITS, picked.shape[1]))
        yield part, dense(picked[:, part])


def centred_ranks(values: Float[np.ndarray, "row unit"]) -> Float[np.ndarray, "row unit"]:
    """Mid-ranks of each column, less their mean: they sum to zero."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values, axis=0) - (len(values) + 1) / 2)


def unit_ranks(values: Float[np.ndarray, "row unit"]) -> Float[np.ndarray, "row unit"]:
    """Centred mid-ranks of unit norm, so that a product of two columns is Spearman's correlation; zero where a column
    is constant."""
    ranks = centred_ranks(values)
    norm = np.sqrt((ranks**2).sum(axis=0))
    return ranks / np.where(norm > 0, norm, 1.0)


def auroc(values: Float[np.ndarray, "row unit"], positive: Bool[np.ndarray, " row"]) -> Float[np.ndarray, " unit"]:
    """Area under the ROC curve of every column, ties counted by half; NaN where one side is empty."""
    return 0.5 + 0.5 * lean(centred_ranks(values), positive[:, None].astype(np.float64))[:, 0]


def weighted_auroc(
    scores: Float[np.ndarray, " row"], positive: Bool[np.ndarray, " row"], weights: Float[np.ndarray, "draw row"]
) -> Float[np.ndarray, " draw"]:
    """The chance that a positive scores above a negative, ties counting half, with every row counted as often as its
    weight says; NaN where one side has none."""
    _, level = np.unique(scores, return_inverse=True)
    steps = int(level.max(initial=-1)) + 1
    yes, no = (np.zeros((len(weights), steps)) for _ in range(2))
    for side, where in ((yes, positive), (no, ~positive)):
        np.add.at(side.T, level[where], weights.T[where])
    below = np.cumsum(no, axis=1) - no
    won = (yes * (below + no / 2)).sum(axis=1)
    pairs = yes.sum(axis=1) * no.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, won / pairs, np.nan)


def lean(
    ranks: Float[np.ndarray, "row unit"], member: Float[np.ndarray, "row arrangement"]
) -> Float[np.ndarray, "unit arrangement"]:
    """2·AUROC − 1 of each column of centred mid-ranks, for each assignment of ones and zeros: the rank-biserial
    correlation, 0 for no association. NaN where one side is empty."""
    ones = member.sum(axis=0)
    pairs = ones * (len(member) - ones)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = 2.0 * (ranks.T @ member) / np.where(pairs > 0, pairs, np.nan)
    return np.asarray(np.clip(found, -1.0, 1.0))


def spearman(values: Float[np.ndarray, "row unit"], other: Float[np.ndarray, " row"]) -> Float[np.ndarray, " unit"]:
    """Spearman's correlation of every column with one more; NaN where either is constant."""
    mine, ranks = unit_ranks(values), unit_ranks(other[:, None])[:, 0]
    rho = np.clip(mine.T @ ranks, -1.0, 1.0)
    still = ~mine.any(axis=0) | (not ranks.any())
    return np.where(still, np.nan, rho)
