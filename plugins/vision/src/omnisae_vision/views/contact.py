"""The visualizer `vision.contact_sheet`."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Float

from omnisae import svg
from omnisae.report.scale import colour
from omnisae.report.visualizer import Figure, LatentView
from omnisae.report.visualizers.grid import grid
from omnisae.report.words import esc, short
from omnisae_vision.views.sheet import GAP, TEXT, WIDTH, Seen, Sheet, fitted, panel, strongest_of

COLUMNS = 6
STEPS = 24
"""Colours in a heatmap: cells of one colour are one path."""
COVER = 0.84
GREY = "filter:grayscale(1) brightness(0.62)"
"""Beneath the heat a picture is grey and dim, as in the report's large heatmaps."""


class ContactSheet(Sheet):
    """The strongest pictures, each plain and below it with its heat, on the latent's one colour scale."""

    def title(self) -> str:
        return "Contact sheet"

    def sheet(self, view: LatentView, shown: Sequence[Seen]) -> Figure:
        columns = min(COLUMNS, max(len(shown), 3))
        width, height = fitted([frame for _, frame in shown], columns)
        tall = 2 * height + 2 + TEXT + GAP
        parts, said = [], []
        for i, (firing, frame) in enumerate(shown):
            x, y = (i % columns) * (width + GAP), (i // columns) * tall
            values = grid(firing)
            name, value = view.dataset.ids[firing.row], short(float(values.max()))
            rows, wide = values.shape
            box = f"0 0 {wide} {rows}"
            tip = f"<title>{esc(name)}: {value}</title>"
            parts.append(panel(x, y, width, height, box, tip + frame.image(wide, rows)))
            heat = frame.image(wide, rows, GREY) + cells(values, view.ceiling)
            parts.append(panel(x, y + height + 2, width, height, box, tip + heat))
            parts.append(svg.text(x + width / 2, y + 2 * height + 13, value, anchor="middle"))
            said.append(f"{name} {value}")
        total = tall * -(-len(shown) // columns)
        alt = f"Contact sheet of {len(shown)} pictures, plain and with heat: {', '.join(said)}"
        caption = f"{strongest_of(view, len(shown))}; heat on the latent's one scale, 0 to {short(view.ceiling)}."
        return Figure("text/html", svg.drawing(WIDTH, total, parts, alt=alt), caption, alt, self.title())


def cells(values: Float[np.ndarray, "y x"], ceiling: float) -> str:
    """The tokens of a grid as squares of one unit, coloured by value; silent ones are left clear."""
    by_step: dict[int, list[str]] = defaultdict(list)
    rows, columns = np.nonzero(values > 0)
    steps = np.round(np.minimum(values[rows, columns] / max(ceiling, 1e-30), 1.0) * STEPS).astype(int)
    for y, x, step in zip(rows.tolist(), columns.tolist(), steps.tolist(), strict=True):
        by_step[step].append(f"M{x} {y}h1v1h-1z")
    # Crisp edges: else light shines through between cells of one pixel or two.
    paths = "".join(
        f'<path d="{"".join(drawn)}" style="fill:{shade(step)};fill-opacity:{COVER}"/>'
        for step, drawn in sorted(by_step.items())
    )
    return f'<g shape-rendering="crispEdges">{paths}</g>' if paths else ""


@cache
def shade(step: int) -> str:
    """The colour of one of the steps."""
    return colour(step / STEPS)
