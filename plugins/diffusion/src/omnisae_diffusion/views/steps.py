"""The steps of a denoiser: their names, their places on an axis of time, and a latent's values by step."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from omnisae.report.visualizer import Firing, LatentView

AXIS = "timestep"


@dataclass(frozen=True, slots=True)
class Clock:
    """The scheduler's times in the order of generation, from noise to picture; where none were told, the numbers of
    the steps from 1 on."""

    ticks: tuple[float, ...]
    told: bool = True

    @property
    def noun(self) -> str:
        return "scheduler time" if self.told else "step"

    def name(self, step: int) -> str:
        """What the step is called."""
        return f"{self.ticks[step]:.4g}".replace("-", "−")

    def places(self) -> Float[np.ndarray, " step"]:
        """Where the steps lie between noise (0) and picture (1): by their times where these run one way, else evenly.
        A single step lies in the middle."""
        ticks = np.asarray(self.ticks, dtype=np.float64)
        if len(ticks) < 2:
            return np.full(len(ticks), 0.5)
        if not self.by_time:
            ticks = np.arange(len(ticks), dtype=np.float64)
        return np.asarray((ticks - ticks[0]) / (ticks[-1] - ticks[0]))

    @property
    def by_time(self) -> bool:
        """Whether the times run one way, so that places may follow them."""
        gaps = [later - earlier for earlier, later in pairwise(self.ticks)]
        return all(gap > 0 for gap in gaps) or all(gap < 0 for gap in gaps)


def clock(view: LatentView, steps: int) -> tuple[Clock, list[int]]:
    """The clock of the steps that were read of examples with so many steps, and the numbers of these steps.

    An extractor that reads some steps only tells their times by `read_times`: at the others a latent is unknown, not
    silent, and they are left out.
    """
    told = view.hook.told.get(AXIS)
    if told is None or len(told.ticks) < steps:
        return Clock(tuple(float(step + 1) for step in range(steps)), told=False), list(range(steps))
    times = getattr(view.extractor, "read_times", None)
    read = [i for i, tick in enumerate(told.ticks[:steps]) if times is None or min(abs(tick - t) for t in times) < 1e-4]
    read = read or list(range(steps))
    return Clock(tuple(told.ticks[step] for step in read)), read


def maps(firing: Firing) -> Float[np.ndarray, "step y x"]:
    """The latent's value at every step and place, the largest along further axes; 0 where it is silent. Special tokens
    have no place and are left out."""
    return _largest(firing, (AXIS, "y", "x"))


def profile(firing: Firing) -> Float[np.ndarray, " step"]:
    """The latent's largest value at every step; 0 where it is silent."""
    return _largest(firing, (AXIS,))


def further(firing: Firing, shown: tuple[str, ...]) -> str:
    """Which axes the largest value was taken along, in words; empty where none is left."""
    left = [(axis, size) for axis, size in firing.sizes.items() if axis not in shown and size > 1]
    named = ["the branches" if axis == "branch" else f"{size} steps along {axis}" for axis, size in left]
    return f"the largest over {' and '.join(named)}" if named else ""


def chosen(steps: int, most: int, strongest: int | None) -> list[int]:
    """At most `most` steps, evenly spaced, the first and the last among them. Where the strongest step is none of
    these, the nearest of them gives way to it: a latent that fires at one step only would otherwise show nowhere."""
    even = np.unique(np.linspace(0, steps - 1, min(most, steps)).round().astype(int)).tolist()
    if strongest is not None and strongest not in even:
        even[min(range(len(even)), key=lambda i: abs(even[i] - strongest))] = strongest
    return sorted(even)


def _largest(firing: Firing, shown: tuple[str, ...]) -> Float[np.ndarray, "..."]:
    axes = list(firing.sizes)
    values = np.zeros([firing.sizes[axis] for axis in shown], dtype=np.float32)
    coords = firing.coords[:, [axes.index(axis) for axis in shown]]
    placed = (coords >= 0).all(axis=1)
    np.maximum.at(values, tuple(coords[placed].T), firing.values[placed])
    return values
