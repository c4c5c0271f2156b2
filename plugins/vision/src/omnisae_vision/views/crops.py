"""The visualizer `vision.crops`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnisae import svg
from omnisae.report.scale import colour
from omnisae.report.visualizer import Figure, LatentView
from omnisae.report.visualizers.grid import grid
from omnisae.report.words import esc, plural, short, whole
from omnisae_vision.views.frames import Frame
from omnisae_vision.views.sheet import GAP, TEXT, WIDTH, Seen, Sheet, panel

COLUMNS = 6
INK = "fill:none;vector-effect:non-scaling-stroke"


@dataclass(frozen=True, slots=True)
class Patch:
    """One token of a picture: its place on the grid of tokens, and its value."""

    row: int
    frame: Frame
    y: int
    x: int
    shape: tuple[int, int]
    value: float

    def window(self, context: int) -> tuple[int, int, int, int]:
        """The tokens that are shown: first row and column, and how many of either; all within the picture."""
        size = 2 * context + 1
        tall, wide = min(size, self.shape[0]), min(size, self.shape[1])
        top = min(max(self.y - context, 0), self.shape[0] - tall)
        left = min(max(self.x - context, 0), self.shape[1] - wide)
        return top, left, tall, wide


class Crops(Sheet):
    """The most active patches among the pictures on the latent's page, each within what is around it."""

    def __init__(self, crops: int, context: int | None, each: int) -> None:
        super().__init__(crops)
        self.crops, self.context, self.each = crops, context, each

    def title(self) -> str:
        return "Most active patches"

    def sheet(self, view: LatentView, shown: Sequence[Seen]) -> Figure:
        picked = [patch for firing, frame in shown for patch in self._pick(grid(firing), firing.row, frame)]
        picked = sorted(picked, key=lambda patch: -patch.value)[: self.crops]
        columns = min(COLUMNS, max(len(picked), 3))
        side = (WIDTH - GAP * (columns - 1)) / columns
        tall = side + TEXT + GAP
        parts, said = [], []
        for i, patch in enumerate(picked):
            x, y = (i % columns) * (side + GAP), (i // columns) * tall
            name = view.dataset.ids[patch.row]
            where = f"{name}, row {patch.y + 1}, column {patch.x + 1}"
            parts += self._crop(patch, x, y, side, view.ceiling, f"{where}: {short(patch.value)}")
            said.append(f"{where} {short(patch.value)}")
        pictures = len({patch.row for patch in picked})
        around = self._around(picked[0].shape)
        caption = (
            f"The {whole(len(picked))} most active patches of {plural(pictures, 'picture')} on this page, select and "
            f"test, at most {self.each} of one; framed, with {plural(around, 'patch', 'patches')} around. "
            f"Chips: the latent's one scale, 0 to {short(view.ceiling)}."
        )
        alt = f"Crops of {plural(len(picked), 'patch', 'patches')}: {'; '.join(said)}"
        total = tall * -(-len(picked) // columns)
        return Figure("text/html", svg.drawing(WIDTH, total, parts, alt=alt), caption, alt, self.title())

    def _crop(self, patch: Patch, x: float, y: float, side: float, ceiling: float, tip: str) -> list[str]:
        top, left, tall, wide = patch.window(self._around(patch.shape))
        rows, columns = patch.shape
        # One token is as wide and high in the crop as in the picture.
        token = (patch.frame.width / columns, patch.frame.height / rows)
        scale = side / max(token[0] * wide, token[1] * tall)
        width, height = token[0] * wide * scale, token[1] * tall * scale
        frame = f'x="{patch.x}" y="{patch.y}" width="1" height="1"'
        inside = (
            f"<title>{esc(tip)}</title>{patch.frame.image(columns, rows)}"
            f'<rect {frame} style="{INK};stroke:#000;stroke-opacity:0.55;stroke-width:3"/>'
            f'<rect {frame} style="{INK};stroke:#fff;stroke-width:1.2"/>'
        )
        box = f"{left} {top} {wide} {tall}"
        across, down = x + (side - width) / 2, y + (side - height) / 2
        shade = colour(patch.value / ceiling) if ceiling > 0 else colour(0.0)
        return [
            panel(across, down, width, height, box, inside),
            svg.rect(x + side / 2 - 24, y + side + 4, 10, 10, kind="chip", fill=shade),
            svg.text(x + side / 2 - 10, y + side + 13, short(patch.value)),
        ]

    def _around(self, shape: tuple[int, ...]) -> int:
        """The patches on every side: as asked for, else by how fine the grid is, so that crops show something."""
        return self.context if self.context is not None else max(1, round(min(shape) / 8))

    def _pick(self, values: Float[np.ndarray, "y x"], row: int, frame: Frame) -> list[Patch]:
        """The strongest patches of a picture whose crops do not overlap."""
        found: list[Patch] = []
        context = self._around(values.shape)
        order = np.argsort(-values, axis=None, kind="stable")[: int((values > 0).sum())]
        for at in order.tolist():
            y, x = divmod(at, values.shape[1])
            patch = Patch(row, frame, y, x, (values.shape[0], values.shape[1]), float(values[y, x]))
            if all(_apart(patch.window(context), other.window(context)) for other in found):
                found.append(patch)
            if len(found) == self.each:
                break
        return found


def _apart(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1]
