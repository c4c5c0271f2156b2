"""Heatmaps over the example's picture."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from omnisae.report.visualizer import Drawing, Firing, Heat, LatentView, Visualizer
from omnisae.report.words import plural, short


class Grid(Visualizer):
    """One value a token along `y` and `x`. Along further axes the largest value is shown."""

    axes = frozenset({"y", "x"})
    pictures: ClassVar[bool] = True

    def title(self) -> str:
        return "Heatmap"

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        values = grid(firing)
        inside = bool((firing.coords >= 0).all()) if firing.coords.size else True
        note = "" if inside else "also fires on special tokens, which have no place in the picture"
        return [Heat(values, firing.row, note, describe(values, view.ceiling))]


def grid(firing: Firing) -> Float[np.ndarray, "y x"]:
    """The largest value at every place of the grid; 0 where the latent is silent."""
    axes = list(firing.sizes)
    y, x = axes.index("y"), axes.index("x")
    values = np.zeros((firing.sizes["y"], firing.sizes["x"]), dtype=np.float32)
    placed = (firing.coords >= 0).all(axis=1)
    coords = firing.coords[placed]
    np.maximum.at(values, (coords[:, y], coords[:, x]), firing.values[placed])
    return values


def describe(values: Float[np.ndarray, "y x"], ceiling: float) -> str:
    """The heatmap in words: where it is strongest, and how much of it is lit."""
    lit = int((values > 0).sum())
    if not lit:
        return "silent everywhere"
    y, x = np.unravel_index(int(values.argmax()), values.shape)
    share = f", {100 * float(values.max()) / ceiling:.0f} % of the latent's largest value" if ceiling > 0 else ""
    return (
        f"fires on {lit} of {plural(values.size, 'token')}; strongest {short(float(values.max()))}{share} "
        f"at row {y + 1} of {values.shape[0]}, column {x + 1} of {values.shape[1]}"
    )
