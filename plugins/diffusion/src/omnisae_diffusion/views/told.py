"""What grids of pictures say in words."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from omnisae.report.words import plural, short

SPOKEN = 6
"""Rows that the text for screen readers tells one by one."""


def named(labels: Sequence[str], seeds: Sequence[int] | None) -> list[str]:
    """Row labels with the seed that the row's pictures share."""
    if seeds is None:
        return [str(label) for label in labels]
    return [f"{label}, seed {seed}" if label else f"seed {seed}" for label, seed in zip(labels, seeds, strict=True)]


def same_seeds(seeds: Sequence[int] | None) -> str:
    """That seeds are equal within a row, where they are known."""
    return "; the pictures of a row began from one seed" if seeds is not None else ""


def strength(value: float, among: Sequence[float]) -> str:
    """A strength; with its sign where some are negative."""
    return f"{value:+.3g}".replace("-", "−") if min(among) < 0 and value != 0 else f"{value:.3g}"


def mean(gap: Float[np.ndarray, "y x"], area: Bool[np.ndarray, "y x"] | None = None) -> str:
    """The mean difference, within an area where one is given; a dash where that is empty."""
    held = gap if area is None else gap[area]
    return short(float(held.mean()) if held.size else None)


def over(gaps: Sequence[Float[np.ndarray, "y x"]], areas: Sequence[Bool[np.ndarray, "y x"]] | None = None) -> str:
    """The mean of the rows' mean differences, rows with an empty area left out."""
    held = [gap if areas is None else gap[area] for gap, area in zip(gaps, areas or gaps, strict=True)]
    found = [float(one.mean()) for one in held if one.size]
    return short(float(np.mean(found)) if found else None)


def seen(gap: Float[np.ndarray, "y x"]) -> str:
    """A difference: its mean, and where it is largest."""
    if not gap.max() > 0:
        return "no difference"
    y, x = np.unravel_index(int(gap.argmax()), gap.shape)
    return f"mean {mean(gap)}, largest {short(float(gap.max()))} at row {y + 1}, column {x + 1}"


def spoken(said: Sequence[str]) -> str:
    """The first rows one by one."""
    more = f"; and {plural(len(said) - SPOKEN, 'more row')}" if len(said) > SPOKEN else ""
    return "; ".join(said[:SPOKEN]) + more
