"""Curves as SVG that takes its colours from the page."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from omnisae import svg
from omnisae.figure import Figure

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 46, 40
STROKES = (
    "stroke:var(--accent);stroke-width:2.4",
    "stroke:var(--accent);stroke-width:2;stroke-dasharray:7 3",
    "stroke:var(--neuron);stroke-width:2;stroke-dasharray:4 3",
    "stroke:var(--soft);stroke-width:1.8;stroke-dasharray:2 3",
)
"""Curves differ by their dashes, not by colour alone."""


def curves(
    lines: Mapping[str, Float[np.ndarray, " point"]],
    across: Sequence[float],
    *,
    marks: Sequence[str],
    at: Sequence[float],
    low: float,
    names: tuple[str, str],
    title: str,
    caption: str,
) -> Figure:
    """Up to four curves over common places `across`, from `low` to 1. `marks` are written below the places `at`;
    `names` are those of the two axes. Points that are NaN are left out."""
    first, last = float(across[0]), float(across[-1])

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - first) / max(last - first, 1e-9)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (min(max(value, low), 1.0) - low) / (1 - low))

    parts = []
    for level in svg.ticks(low, 1.0, 5):
        parts += [svg.line(LEFT, y(level), WIDTH - RIGHT, y(level), kind="gridline")]
        parts += [svg.text(LEFT - 6, y(level) + 4, f"{level:.2g}", anchor="end")]
    for value, mark in zip(at, marks, strict=True):
        parts.append(svg.text(x(value), HEIGHT - BOTTOM + 16, mark, anchor="middle"))
    parts.append(svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, names[0], anchor="middle"))
    parts.append(svg.text(6, TOP - 8, names[1]))
    for number, (name, values) in enumerate(lines.items()):
        known = [(x(a), y(float(v))) for a, v in zip(across, values, strict=True) if np.isfinite(v)]
        parts.append(svg.curve(known, style=STROKES[number]))
        parts.append(
            svg.key(LEFT + (number % 2) * (WIDTH - LEFT) / 2, 10 + 14 * (number // 2), name, style=STROKES[number])
        )
    said = "; ".join(
        f"{name}: " + ", ".join(f"{m}: {np.interp(a, across, v):.2f}" for m, a in zip(marks, at, strict=True))
        for name, v in lines.items()
    )
    return Figure("text/html", svg.drawing(WIDTH, HEIGHT, parts, alt=f"{title}. {said}"), caption, said, title)
