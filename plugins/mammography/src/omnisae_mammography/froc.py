"""The free-response curve: how many lesions are found at how many false marks an image."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float


@dataclass
class Marks:
    """Marks on images and what they hit. A mark hits a lesion where its peak lies in it; a lesion is found at the
    value of the best mark that hits it (−inf: by none); a mark that hits none is false."""

    false_values: list[float] = field(default_factory=list)
    false_rows: list[int] = field(default_factory=list)
    lesion_values: list[float] = field(default_factory=list)
    lesion_rows: list[int] = field(default_factory=list)

    def add(self, row: int, values: Sequence[float], hits: Sequence[Sequence[int]], lesions: int) -> None:
        """The marks of one image: `hits` are the lesions that each mark hits."""
        best = [-np.inf] * lesions
        for value, hit in zip(values, hits, strict=True):
            if not hit:
                self.false_values.append(value)
                self.false_rows.append(row)
            for lesion in hit:
                best[lesion] = max(best[lesion], value)
        self.lesion_values += best
        self.lesion_rows += [row] * lesions


def sensitivity(
    marks: Marks, weights: Float[np.ndarray, " image"], rates: Sequence[float]
) -> Float[np.ndarray, " rate"]:
    """The share of lesions found where at most so many false marks an image are made. `weights` count images, whose
    numbers are the marks' rows; NaN where no lesion has weight."""
    lesions = np.asarray(marks.lesion_values, dtype=np.float64)
    lesion_weights = weights[np.asarray(marks.lesion_rows, dtype=np.int64)]
    if not lesion_weights.sum():
        return np.full(len(rates), np.nan)
    values = np.asarray(marks.false_values, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    values, counted = values[order], weights[np.asarray(marks.false_rows, dtype=np.int64)][order]
    made = np.cumsum(counted) / weights.sum()
    out = []
    for rate in rates:
        allowed = int(np.searchsorted(made, rate + 1e-12, side="right"))
        # The first false mark too many, and all marks that are not above it, are not made.
        bar = values[allowed] if allowed < len(values) else -np.inf
        out.append(float(lesion_weights[lesions > bar].sum() / lesion_weights.sum()))
    return np.array(out)


def curve(
    marks: Marks, weights: Float[np.ndarray, " image"], most: float
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """False marks an image from 0 to `most`, and the sensitivity there."""
    rates: Float[np.ndarray, " point"] = np.linspace(0, most, 81)
    return rates, sensitivity(marks, weights, rates.tolist())


def hits(peaks: Sequence[tuple[int, int]], boxes: Sequence[tuple[int, int, int, int]]) -> list[list[int]]:
    """The lesions in whose box each peak (y, x) lies."""
    return [[i for i, (x0, y0, x1, y1) in enumerate(boxes) if x0 <= x < x1 and y0 <= y < y1] for y, x in peaks]
