"""A drawing of how values are spread, one curve a family, as SVG that takes its colours from the page."""

import html
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

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
    parts = [_axis(low, high, axis)]
    for number, (name, curve) in enumerate(curves.items()):
        across = LEFT + (WIDTH - LEFT - RIGHT) * (grid - low) / (high - low)
        up = TOP + (HEIGHT - TOP - BOTTOM) * (1 - curve / top)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, up, strict=True))
        parts.append(f'<polyline points="{path}" fill="none" style="{STROKES[number]}"/>')
        parts.append(_legend(number, name))
    middles = ", ".join(f"{name}: median {np.median(v):.3g}, n = {len(v)}" for name, v in known.items() if len(v))
    alt = f"{title}. {middles}."
    head = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" style="aspect-ratio:{WIDTH}/{HEIGHT}" role="img" '
    drawn = f'{head}aria-label="{html.escape(alt)}">{"".join(parts)}</svg>'
    return Figure("text/html", drawn.encode(), f"{caption} {middles}.", alt, title)


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


def _axis(low: float, high: float, name: str) -> str:
    base = HEIGHT - BOTTOM
    parts = [f'<line class="axis" x1="{LEFT}" y1="{base}" x2="{WIDTH - RIGHT}" y2="{base}"/>']
    for step in range(5):
        value, x = low + (high - low) * step / 4, LEFT + (WIDTH - LEFT - RIGHT) * step / 4
        anchor = "start" if step == 0 else "end" if step == 4 else "middle"
        parts.append(f'<text class="tick" x="{x:.1f}" y="{base + 13}" text-anchor="{anchor}">{value:.2g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{HEIGHT - 3}" text-anchor="middle">{html.escape(name)}</text>')
    return "".join(parts)


def _legend(number: int, text: str) -> str:
    x = LEFT + number * (WIDTH - LEFT - RIGHT) / 3
    return (
        f'<line x1="{x:.1f}" y1="12" x2="{x + 24:.1f}" y2="12" style="{STROKES[number]}"/>'
        f'<text class="tick" x="{x + 29:.1f}" y="16">{html.escape(text)}</text>'
    )
