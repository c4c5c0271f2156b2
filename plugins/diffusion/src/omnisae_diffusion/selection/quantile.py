"""Which values lie above a percentile, exactly: of any number of values, and with ties told."""

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float

from omnisae.errors import ConfigError


def above(values: Float[np.ndarray, " value"], percentile: float) -> Bool[np.ndarray, " value"]:
    """The values strictly above the percentile (interpolated linearly between neighbours, as torch.quantile does, which
    takes no more than 2²⁴ values).

    Values that tie with the percentile are left out, all of them: ties make the choice smaller, never larger. Of 20,480
    values 99.99 leaves exactly 3, 99.995 2, and 99.999 1. Raises ConfigError for a percentile outside 0 to 100.
    """
    # A level between two neighbours is exceeded by just those that exceed the lower one.
    return np.asarray(values > _ordered(values, math.floor(_place(percentile, len(values)))))


def at_least(values: Float[np.ndarray, " value"], percentile: float) -> Bool[np.ndarray, " value"]:
    """The values at or above the percentile. Values that tie with it are all kept: ties make the choice larger."""
    return np.asarray(values >= _ordered(values, math.ceil(_place(percentile, len(values)))))


def _place(percentile: float, count: int) -> Fraction:
    """Where the percentile lies among ordered values, from 0 to count − 1: as the decimal it was written as, for 0.7 ·
    10 is more than 7 in floats of another order."""
    if not 0 <= percentile <= 100:
        raise ConfigError(f"a percentile of {percentile:g} was given", "give one from 0 to 100")
    return Fraction(repr(float(percentile))) / 100 * (count - 1)


def _ordered(values: Float[np.ndarray, " value"], place: int) -> float:
    # np.partition takes some twenty times as long where most values are equal, as the scores of silent latents are.
    return float(np.sort(values)[place])
