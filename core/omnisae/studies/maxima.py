"""Spearman's correlation of many units with many fractions, unknown here and there, and the null of its maximum.

For a fraction known of some examples, both sides are ranked among these alone. Under the null, whole rows of fractions
(with their gaps) trade places, so that what fractions share with each other stays as it is.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit, prange
from scipy.stats import rankdata


class Correlations:
    """Units (example × unit) against fractions (example × fraction, NaN where unknown)."""

    def __init__(self, units: Float[np.ndarray, "row unit"], fractions: Float[np.ndarray, "row fraction"]) -> None:
        self.order = np.ascontiguousarray(np.argsort(units, axis=0, kind="stable").T)
        self.values = np.ascontiguousarray(np.take_along_axis(units.T, self.order, axis=1))
        self.patterns = list(_patterns(fractions))
        self.fractions = fractions.shape[1]

    def spearman(self, shuffle: Int[np.ndarray, " row"] | None = None) -> Float[np.ndarray, "unit fraction"]:
        """Spearman's ρ of every pair, with row i of the fractions taken from `shuffle[i]`; 0 where either is constant
        among the known."""
        n = self.order.shape[1]
        place = np.arange(n) if shuffle is None else np.asarray(shuffle, dtype=np.int64)
        out = np.zeros((len(self.order), self.fractions))
        for columns, known, ranks in self.patterns:
            found = np.zeros((len(self.order), len(columns)))
            _correlate(self.order, self.values, place, known, ranks, found)
            out[:, columns] = found
        return np.clip(out, -1.0, 1.0)


def _patterns(
    fractions: Float[np.ndarray, "row fraction"],
) -> "list[tuple[Int[np.ndarray, ' fraction'], Bool[np.ndarray, ' row'], Float[np.ndarray, 'row fraction']]]":
    """The fractions known of the same examples together: their numbers, the examples, and their ranks, centred and of
    unit norm; 0 where unknown."""
    groups: dict[bytes, list[int]] = {}
    known = ~np.isnan(fractions)
    for number in range(fractions.shape[1]):
        groups.setdefault(known[:, number].tobytes(), []).append(number)
    out = []
    for numbers in groups.values():
        mask = known[:, numbers[0]]
        ranks = np.zeros((len(fractions), len(numbers)))
        if mask.any():
            inside = rankdata(fractions[np.ix_(mask, numbers)], axis=0) - (mask.sum() + 1) / 2
            norm = np.sqrt((inside**2).sum(axis=0))
            ranks[mask] = inside / np.where(norm > 0, norm, 1.0)
        out.append((np.array(numbers), mask, ranks))
    return out


@njit(parallel=True, cache=True)
def _correlate(
    order: Int[np.ndarray, "unit row"],
    values: Float[np.ndarray, "unit row"],
    place: Int[np.ndarray, " row"],
    known: Bool[np.ndarray, " row"],
    ranks: Float[np.ndarray, "row fraction"],
    out: Float[np.ndarray, "unit fraction"],
) -> None:
    n, fractions = ranks.shape
    total = 0
    for i in range(n):
        total += known[place[i]]
    for unit in prange(order.shape[0]):
        at, below, spread = 0, 0, 0.0
        sums = np.zeros(fractions)
        while at < n:
            end, tied = at, 0
            while end < n and values[unit, end] == values[unit, at]:
                tied += known[place[order[unit, end]]]
                end += 1
            centre = below + (tied + 1) / 2 - (total + 1) / 2  # mid-rank among the known, less their mean
            spread += tied * centre * centre
            for i in range(at, end):
                row = place[order[unit, i]]
                if known[row]:
                    for fraction in range(fractions):
                        sums[fraction] += centre * ranks[row, fraction]
            below += tied
            at = end
        if spread > 0:
            for fraction in range(fractions):
                out[unit, fraction] = sums[fraction] / np.sqrt(spread)
