"""The measures behind ranked bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.extract.dataset import FeatureTable

_FEWEST = 3
"""Test examples that a class, or the strongest part, must have to be shown."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Named values in the order of their rank on select, measured on test. `control` is what stands beside them: the
    mean over all examples, or the half-width of what chance gives. `counts` are the examples of each name (0: all)."""

    names: Sequence[str]
    values: Sequence[float]
    counts: Sequence[int]
    control: float
    n: int
    rest: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Classes:
    """A categorical column: the names of its classes, and the class of every example."""

    names: Sequence[str]
    which: Int[np.ndarray, " example"]

    @staticmethod
    def of(column: Sequence[str]) -> "Classes":
        """The column as a dataset gives it."""
        names, which = np.unique(np.asarray(column, dtype=str), return_inverse=True)
        return Classes([str(name) for name in names], which)


def classes(
    labels: Classes,
    strength: Float[np.ndarray, " example"],
    select: Bool[np.ndarray, " example"],
    test: Bool[np.ndarray, " example"],
    most: int,
) -> Ranked | None:
    """The mean strength of every class, ranked on select and measured on test. None where no class can be measured."""
    which, size = labels.which, len(labels.names)
    n_select, n_test = (np.bincount(which[side], minlength=size) for side in (select, test))
    sums = [np.bincount(which[side], weights=strength[side], minlength=size) for side in (select, test)]
    fit = np.flatnonzero((n_select > 0) & (n_test >= _FEWEST) & np.array([bool(name.strip()) for name in labels.names]))
    if not len(fit):
        return None
    order = fit[np.argsort(-sums[0][fit] / n_select[fit], kind="stable")]
    shown = order[:most]
    means = sums[1][shown] / n_test[shown]
    return Ranked(
        [labels.names[i] for i in shown],
        means.tolist(),
        n_test[shown].tolist(),
        float(strength[test].mean()),
        int(test.sum()),
        left_out=len(order) - len(shown),
    )


class Contrasts:
    """Standardised differences of features between a latent's strongest examples and the rest.

    d = (mean over strongest − mean over rest) / standard deviation over all, per feature. What does not depend on the
    latent is summed once per table, so that a latent costs its strongest examples only.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._sums: dict[
            tuple[int, bytes], tuple[Any, Float[np.ndarray, " feature"], Float[np.ndarray, " feature"]]
        ] = {}

    def rank(
        self,
        table: FeatureTable,
        strength: Float[np.ndarray, " example"],
        select: Bool[np.ndarray, " example"],
        test: Bool[np.ndarray, " example"],
        most: int,
    ) -> Ranked | None:
        """The features with the largest differences either way on select, measured on test. None where too few fire."""
        chosen = [self._difference(table, strength, side) for side in (select, test)]
        if chosen[0] is None or chosen[1] is None:
            return None
        ranks, (measured, n, rest) = chosen[0][0], chosen[1]
        order = np.argsort(-np.abs(ranks), kind="stable")[:most]
        order = order[np.argsort(-ranks[order], kind="stable")]
        return Ranked(
            [str(table.names[i]) for i in order],
            measured[order].tolist(),
            [0] * len(order),
            1.96 * float(np.sqrt(1 / n + 1 / rest)),
            n,
            rest,
        )

    def _difference(
        self, table: FeatureTable, strength: Float[np.ndarray, " example"], side: Bool[np.ndarray, " example"]
    ) -> tuple[Float[np.ndarray, " feature"], int, int] | None:
        rows = np.flatnonzero(side & (strength > 0))
        rows = rows[np.argsort(-strength[rows], kind="stable")[: min(self._top, int(side.sum()) // 4)]]
        rest = int(side.sum()) - len(rows)
        if len(rows) < _FEWEST or rest < _FEWEST:
            return None
        total, deviation = self._whole(table, side)
        strong = _sum(table.values[np.sort(rows)])
        difference = strong / len(rows) - (total - strong) / rest
        return np.divide(difference, deviation, out=np.zeros_like(difference), where=deviation > 0), len(rows), rest

    def _whole(
        self, table: FeatureTable, side: Bool[np.ndarray, " example"]
    ) -> tuple[Float[np.ndarray, " feature"], Float[np.ndarray, " feature"]]:
        key = (id(table.values), np.packbits(side).tobytes())
        if key not in self._sums:
            part = table.values[np.flatnonzero(side)]
            total, squares = _sum(part), _sum(part.multiply(part) if hasattr(part, "multiply") else np.square(part))
            n = int(side.sum())
            variance = np.maximum(squares / n - (total / n) ** 2, 0.0)
            # The table is kept beside its sums, so that its id cannot pass to another one.
            self._sums[key] = (table.values, total, np.sqrt(variance))
        return self._sums[key][1:]


def _sum(part: Any) -> Float[np.ndarray, " feature"]:
    return np.asarray(part.sum(axis=0, dtype=np.float64)).ravel()
