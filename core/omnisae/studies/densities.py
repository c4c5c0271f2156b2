"""A drawing of how values are spread, one curve a family, as SVG that takes its colours from the page."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from omnisae import svg
from omnisae.figure import Figure

WIDTH, HEIGHT = 440, 210
LEFT, RIGHT, TOP, BOTTOM = 14, 14, 34, 30
STROKES = (
    "stroke:var(--accent);stroke-width:2.2",
    "stroke:var(--neuron);stroke-width:2;stroke-dasharray:6 3",
    "stroke:var(--soft);stroke-width:1.6;stroke-dasharray:2 3",
)
"""Families differ by their dashes, not by colour alone."""


def densities(
    families: Mapping[str, Float[np.ndarray, " item"]],
    *,
    low: float,
    high: float,
    axis: str,
    title: str,
    caption: str,
) -> Figure:
    """At most three families of values between `low` and `high`; each curve has the same area. Values that are NaN are
    left out. A family with fewer than two different values is left out, too.
    """
    grid = np.linspace(low, high, 160)
    known = {name: np.asarray(values)[~np.isnan(values)] for name, values in families.items()}
    curves = {name: _density(values, grid) for name, values in known.items() if len(np.unique(values)) > 1}
    top = max((curve.max() for curve in curves.values()), default=1.0)
    parts = _axis(low, high, axis)
    for number, (name, curve) in enumerate(curves.items()):
        across = LEFT + (WIDTH - LEFT - RIGHT) * (grid - low) / (high - low)
        up = TOP + (HEIGHT - TOP - BOTTOM) * (1 - curve / top)
        parts.append(svg.curve(zip(across.tolist(), up.tolist(), strict=True), style=STROKES[number]))
        parts.append(svg.key(LEFT + number * (WIDTH - LEFT - RIGHT) / 3, 12, name, style=STROKES[number]))
    middles = ", ".join(f"{name}: median {np.median(v):.3g}, n = {len(v)}" for name, v in known.items() if len(v))
    alt = f"{title}. {middles}."
    drawn = svg.drawing(WIDTH, HEIGHT, parts, alt=alt)
    return Figure("text/html", drawn, f"{caption} {middles}.", alt, title)


def _density(values: Float[np.ndarray, " item"], grid: Float[np.ndarray, " step"]) -> Float[np.ndarray, " step"]:
    """A Gaussian kernel estimate with Silverman's width (Silverman 1986), reflected at both ends so that no mass lies
    outside."""
    spread = min(float(values.std()), float(np.subtract(*np.quantile(values, [0.75, 0.25]))) / 1.34 or np.inf)
    width = max(0.9 * spread * len(values) ** -0.2, (grid[-1] - grid[0]) / 200)
    out = np.zeros(len(grid))
    for mirrored in (values, 2 * grid[0] - values, 2 * grid[-1] - values):
        for part in np.array_split(mirrored, max(1, len(mirrored) // 4096)):
            out += np.exp(-0.5 * ((grid[:, None] - part) / width) ** 2).sum(axis=1)
    return np.asarray(out / (len(values) * width * np.sqrt(2 * np.pi)))


def _axis(low: float, high: float, name: str) -> list[str]:
    base, middle = HEIGHT - BOTTOM, (LEFT + WIDTH - RIGHT) / 2
    parts = [svg.line(LEFT, base, WIDTH - RIGHT, base, kind="axis")]
    for step in range(5):
        value, x = low + (high - low) * step / 4, LEFT + (WIDTH - LEFT - RIGHT) * step / 4
        anchor = "start" if step == 0 else "end" if step == 4 else "middle"
        parts.append(svg.text(x, base + 13, f"{value:.2g}", anchor=anchor))
    return [*parts, svg.text(middle, HEIGHT - 3, name, anchor="middle")]
