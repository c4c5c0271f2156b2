"""Axes: named directions along which the tokens of an example lie."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """A named direction, such as `y`, `x`, `position` or `time`.

    `size` is the number of steps along it, or None where examples differ (ragged).
    """

    name: str
    size: int | None = None
