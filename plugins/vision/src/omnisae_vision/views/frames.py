"""Where a report keeps the plain picture of an example, so that drawings may lay lines over it without a copy."""

from dataclasses import dataclass

import numpy as np

from omnisae.errors import UnreadableExample
from omnisae.report.shelf import place
from omnisae.report.visualizer import LatentView
from omnisae.report.visualizers.once import Once
from omnisae.report.words import esc


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's address within the report, and its size there in pixels."""

    src: str
    width: int
    height: int

    def image(self, width: float, height: float, style: str = "") -> str:
        """The picture as SVG, filling a box with its corner at 0, 0."""
        look = f' style="{esc(style)}"' if style else ""
        return f'<image href="{esc(self.src)}" width="{width:g}" height="{height:g}" preserveAspectRatio="none"{look}/>'


class Frames:
    """The frames of a report's pictures. Where all pictures of an extractor have one size, none is read."""

    def __init__(self) -> None:
        self._known: Once[dict[int, Frame | None]] = Once(lambda dataset: {})

    def of(self, view: LatentView, row: int) -> Frame | None:
        """None where the example has no picture, or cannot be read."""
        known = self._known(view.dataset)
        if row not in known:
            known[row] = self._find(view, row)
        return known[row]

    def any(self, view: LatentView) -> bool:
        """Whether the examples have pictures, as far as one of them tells."""
        if hasattr(view.extractor, "picture_size"):
            return True
        rows = np.flatnonzero(view.known())
        return len(rows) > 0 and self.of(view, int(rows[0])) is not None

    def _find(self, view: LatentView, row: int) -> Frame | None:
        size = getattr(view.extractor, "picture_size", None)
        if size is None:
            try:
                pixels = view.extractor.picture(view.dataset.load(row))
            except UnreadableExample:
                return None
            if pixels is None:
                return None
            size = pixels.shape[:2]
        picture = place(row, int(size[0]), int(size[1]))
        return Frame(picture.src, picture.width, picture.height)
