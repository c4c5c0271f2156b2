"""How often a latent takes which value."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from omnisae import svg
from omnisae.report.scale import colour
from omnisae.report.visualizer import Drawing, Figure, LatentView, Visualizer
from omnisae.report.words import percent, plural, short, whole

WIDTH, HEIGHT = 420, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 30
_WHAT = {None: "Values above zero", 1: "Codes above zero", -1: "Magnitudes of codes below zero"}
"""What is counted, by the sign of the codes."""


class Histogram(Visualizer):
    """Counts of the values above zero, on a log scale: large values are rare."""

    def __init__(self, bins: int = 40) -> None:
        self.bins = bins

    def title(self) -> str:
        return "How strongly it fires"

    def applies(self, view: LatentView) -> bool:
        return len(view.values) > 0 and view.ceiling > 0

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        # Few values in many bins are a comb that shows nothing.
        bins = min(self.bins, max(8, int(2 * math.sqrt(len(view.values)))))
        counts, edges = np.histogram(view.values, bins=bins, range=(0.0, view.ceiling))
        n = len(view.values)
        of = f" of {plural(view.tokens, 'scored token')} ({percent(n / view.tokens)})" if view.tokens else ""
        middle = float(np.median(view.values))
        caption = f"{_WHAT[view.sign]}, n = {whole(n)}{of}. Median {short(middle)}, largest {short(view.ceiling)}."
        alt = f"Histogram of {plural(n, 'value')} between 0 and {short(view.ceiling)}, median {short(middle)}"
        return [Figure("text/html", svg.drawing(WIDTH, HEIGHT, bars(counts, edges), alt=alt), caption, alt)]


def bars(counts: Int[np.ndarray, " bin"], edges: Float[np.ndarray, " edge"], *, coloured: bool = True) -> list[str]:
    """The histogram's parts: bars on a log scale of counts, their axis, the colour of their value beneath."""
    high = float(np.log10(max(counts.max(), 1))) + 0.3
    inner, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    low, top = float(edges[0]), float(edges[-1])

    def across(value: float) -> float:
        return _LEFT + inner * (value - low) / (top - low)

    def up(count: float) -> float:
        # Half a count lies on the baseline, so that a single token still shows.
        return _TOP + tall * (1 - (math.log10(max(count, 0.5)) + 0.3) / (high + 0.3))

    parts = []
    for power in range(int(high) + 1):
        y = up(10.0**power)
        parts += [svg.line(_LEFT, y, WIDTH - _RIGHT, y, kind="gridline")]
        parts += [svg.text(_LEFT - 6, y + 4, whole(10.0**power), anchor="end")]
    for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        x, y = across(left), up(count)
        tip = f"{short(left)} to {short(right)}: {whole(count)}"
        if count:
            parts.append(svg.rect(x + 0.5, y, across(right) - x - 1, _TOP + tall - y, kind="bar", tip=tip))
        if coloured:
            fill = colour((left + right) / 2 / top)
            parts.append(svg.rect(x, _TOP + tall + 1, across(right) - x + 0.2, 4, kind="swatch", fill=fill))
    for value in svg.ticks(low, top):
        parts.append(svg.text(across(value), HEIGHT - 10, short(value), anchor="middle"))
    return parts
