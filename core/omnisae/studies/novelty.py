"""Novelty: the part of a unit that no linear combination of known fractions tells."""

import numpy as np
from jaxtyping import Float, Int

FOLDS = 5
PENALTIES = tuple(10.0**power for power in range(-2, 5))
"""Ridge penalties that each unit chooses from, by leave-one-out within the examples that fit it."""


def novelty(
    fractions: Float[np.ndarray, "row fraction"], units: Float[np.ndarray, "row unit"], folds: Int[np.ndarray, " row"]
) -> Float[np.ndarray, " unit"]:
    """1 − max(0, R²) of a ridge regression of each unit from the fractions, predicted for examples that did not fit it;
    NaN where a unit is constant. Unknown fractions take the median of those that fit.

    (Wu & Walmsley 2025, arXiv 2510.23749, take R² on the very examples that were fitted.)
    """
    from sklearn.linear_model import RidgeCV

    units = units.astype(np.float64)
    error = np.zeros(units.shape[1])
    for fold in range(FOLDS):
        inside, outside = folds != fold, folds == fold
        if not outside.any():
            continue
        middle = np.nan_to_num(_medians(fractions[inside]))
        filled = np.where(np.isnan(fractions), middle, fractions)
        mean, spread = filled[inside].mean(axis=0), filled[inside].std(axis=0)
        scaled = (filled - mean) / np.where(spread > 1e-12, spread, 1.0)
        model = RidgeCV(PENALTIES, alpha_per_target=True).fit(scaled[inside], units[inside])
        predicted = np.asarray(model.predict(scaled[outside])).reshape(int(outside.sum()), -1)
        error += ((units[outside] - predicted) ** 2).sum(axis=0)
    total = ((units - units.mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 1e-12, np.minimum(error / np.where(total > 1e-12, total, 1.0), 1.0), np.nan)


def _medians(values: Float[np.ndarray, "row fraction"]) -> Float[np.ndarray, " fraction"]:
    """Medians of what is known; NaN where nothing is."""
    out = np.full(values.shape[1], np.nan)
    some = ~np.isnan(values).all(axis=0)
    out[some] = np.nanmedian(values[:, some], axis=0)
    return out
