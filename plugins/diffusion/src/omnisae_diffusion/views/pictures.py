"""Pictures within SVG: an example's plain picture where the report keeps it, and what lies on the way to it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from omnisae.errors import UnreadableExample
from omnisae.report.shelf import place
from omnisae.report.visualizer import LatentView
from omnisae.report.visualizers.once import Once
from omnisae.report.words import esc

SMALL = 48
"""Longest side of an intermediate picture, in pixels: it is drawn about that large, and every page carries its own."""
LOSSLESS = 32
"""Up to this side a picture is kept as PNG: compression would blur what little is there."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture's address and its size in pixels."""

    src: str
    width: int
    height: int

    def image(self, width: float, height: float, style: str = "") -> str:
        """The picture filling a box with its corner at 0, 0; small ones in whole pixels."""
        sharp = "image-rendering:pixelated;" if max(self.width, self.height) < 128 else ""
        look = f' style="{esc(sharp + style)}"' if sharp + style else ""
        return f'<image href="{esc(self.src)}" width="{width:g}" height="{height:g}" preserveAspectRatio="none"{look}/>'


@dataclass(frozen=True, slots=True)
class Course:
    """An example's plain picture and, where the extractor can tell, the picture at every step."""

    plain: Shown | None
    frames: Sequence[Shown] | None


class Courses:
    """The pictures of examples, each asked for once.

    An extractor that has `picture_size` (height, width) is not asked for the picture itself, which may cost it a whole
    generation; one that has `frames(example)` gives a picture (uint8, y x 3) for every step, or None. It is asked for
    the first `most` examples only: each may cost another generation.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Once[dict[int, Course]] = Once(lambda dataset: {})

    def of(self, view: LatentView, row: int) -> Course:
        held = self._held(view.dataset)
        if row not in held:
            with_frames = sum(course.frames is not None for course in held.values())
            held[row] = _read(view, row, with_frames < self._most)
        return held[row]


def _read(view: LatentView, row: int, with_frames: bool) -> Course:
    size = getattr(view.extractor, "picture_size", None)
    ask = getattr(view.extractor, "frames", None) if with_frames else None
    found = None
    try:
        if size is None or ask is not None:
            example = view.dataset.load(row)
            found = ask(example) if ask is not None else None
            pixels = view.extractor.picture(example) if size is None else None
            size = pixels.shape[:2] if pixels is not None else size
    except UnreadableExample:  # the report counts it, and says so
        return Course(None, None)
    plain = None
    if size is not None:
        kept = place(row, int(size[0]), int(size[1]))
        plain = Shown(kept.src, kept.width, kept.height)
    return Course(plain, [embedded(frame) for frame in found] if found else None)


def embedded(pixels: UInt8[np.ndarray, "y x 3"]) -> Shown:
    """A small copy of a picture as a data address."""
    drawn = Image.fromarray(np.ascontiguousarray(pixels))
    shrink = max(max(drawn.size) / SMALL, 1.0)
    if shrink > 1:
        drawn = drawn.resize((max(1, round(drawn.width / shrink)), max(1, round(drawn.height / shrink))))
    out = io.BytesIO()
    kind = "png" if max(drawn.size) <= LOSSLESS else "jpeg"
    drawn.save(out, kind.upper(), **({"quality": 72} if kind == "jpeg" else {}))
    return Shown(f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}", drawn.width, drawn.height)
