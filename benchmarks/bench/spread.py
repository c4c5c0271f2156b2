"""Medians and their spread, and ratios of contestants that took turns."""

from collections.abc import Sequence
from statistics import median
from typing import Any

Round = dict[str, float]
"""One turn of a contestant: its `steps` and `seconds`."""


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, lowest, highest, and their number."""
    if not values:
        return {"median": None, "min": None, "max": None, "n": 0}
    return {"median": median(values), "min": min(values), "max": max(values), "n": len(values)}


def rates(rounds: Sequence[Round], tokens_a_step: int) -> list[float]:
    """Tokens a second, round by round."""
    return [one["steps"] * tokens_a_step / one["seconds"] for one in rounds]


def ratios(ours: Sequence[Round], theirs: Sequence[Round]) -> list[float]:
    """How many times as fast a step of `ours` is as one of `theirs`, round by round.

    Both ran within the same seconds, so that the machine's moods cancel.
    """
    return [_per_step(b) / _per_step(a) for a, b in zip(ours, theirs, strict=False)]


def _per_step(one: Round) -> float:
    return one["seconds"] / one["steps"]
