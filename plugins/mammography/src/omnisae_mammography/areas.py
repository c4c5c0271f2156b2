"""AUROC under weights, for bootstrap draws."""

import numpy as np
from jaxtyping import Bool, Float


def weighted_auroc(
    scores: Float[np.ndarray, " row"], positive: Bool[np.ndarray, " row"], weights: Float[np.ndarray, "time row"]
) -> Float[np.ndarray, " time"]:
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
