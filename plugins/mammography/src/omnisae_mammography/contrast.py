"""How latents differ between pictures with and without a finding."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

EPSILON = 1e-12


@dataclass(frozen=True)
class Contrast:
    """Of every list: its mean within and without, and the standardised difference d = (within − without) / s, where s²
    is the mean of both variances (Cohen's d for groups of any size); 0 where a list does not vary."""

    within: Float[np.ndarray, " list"]
    without: Float[np.ndarray, " list"]
    d: Float[np.ndarray, " list"]


def contrast(
    codes: Any, positive: Bool[np.ndarray, " row"], weights: Float[np.ndarray, " row"] | None = None
) -> Contrast:
    """Over rows of a matrix, scipy-sparse or dense (row × list); `weights` count rows more than once, or not."""
    w = np.ones(len(positive)) if weights is None else weights
    (mean1, var1), (mean0, var0) = (_moments(codes, w * side) for side in (positive, ~positive))
    spread = np.sqrt((var1 + var0) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        d = np.where(spread > EPSILON, (mean1 - mean0) / spread, 0.0)
    return Contrast(mean1, mean0, d)


def _moments(
    codes: Any, weights: Float[np.ndarray, " row"]
) -> tuple[Float[np.ndarray, " list"], Float[np.ndarray, " list"]]:
    """Weighted mean and variance of every column; NaN where no row has weight."""
    total = weights.sum()
    if not total:
        nothing = np.full(codes.shape[1], np.nan)
        return nothing, nothing
    squares = codes.multiply(codes) if hasattr(codes, "multiply") else np.asarray(codes) ** 2
    mean = np.asarray(codes.T @ weights).ravel() / total
    square = np.asarray(squares.T @ weights).ravel() / total
    return mean, np.maximum(square - mean**2, 0.0)


def ordered(values: Float[np.ndarray, " list"], most: int) -> Int[np.ndarray, " top"]:
    """The lists with the largest values, the first of equal ones before the others."""
    return np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:most]
