"""The visualizer `galaxies.saliency`."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from omnisae.errors import UnreadableExample
from omnisae.extract.dataset import Example
from omnisae.report.scale import table
from omnisae.report.visualizer import Drawing, Figure, Firing, LatentView, Visualizer
from omnisae.report.visualizers.grid import describe, grid
from omnisae.report.visualizers.once import Once
from omnisae.report.words import short
from omnisae_galaxies import draw

REMEMBERED = 2048
"""Pictures that are kept, for the next latent that shows them."""
Plain = tuple[UInt8[np.ndarray, "y x 3"], str]


class Saliency(Visualizer):
    """Contours of the latent's strength, smoothed between tokens, over the picture that the model saw, with a scale
    bar. The levels are shares of the latent's largest value anywhere, so that two galaxies can be compared."""

    axes = frozenset({"y", "x"})

    def __init__(self, levels: Sequence[float], side: int) -> None:
        self.levels, self.side = sorted(levels), side
        self._plain: Once[OrderedDict[int, Plain | None]] = Once(lambda dataset: OrderedDict())

    def title(self) -> str:
        return "Saliency"

    def applies(self, view: LatentView) -> bool:
        """Other fields have maps over y and x, too: this is for cut-outs of the sky."""
        return super().applies(view) and hasattr(view.dataset, "arcsec")

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        plain = self._read(view, firing.row)
        if plain is None or view.ceiling <= 0:
            return []
        picture, bar = plain
        values = grid(firing)
        fine = smoothed(values, picture.shape[:2])
        canvas, drawn = picture.copy(), []
        for level in self.levels:
            line = outline(fine >= level * view.ceiling)
            if line.any():
                canvas[line] = table()[round(level * 255)]
                drawn.append(f"{100 * level:g} %")
        ends = f"of {short(view.ceiling)}, its largest value anywhere"
        told = f"Contours at {', '.join(drawn)} {ends}" if drawn else f"Nowhere above {100 * self.levels[0]:g} % {ends}"
        caption = f"{told}. Bar: {bar}." if bar else f"{told}."
        return [Figure("image/jpeg", draw.jpeg(canvas), caption, f"{describe(values, view.ceiling)}; {caption}")]

    def _read(self, view: LatentView, row: int) -> Plain | None:
        """What is the same for all latents: the model's picture with its scale bar, and what the bar spans; None where
        there is no picture."""
        known = self._plain(view.dataset)
        if row not in known:
            known[row] = self._make(view, row)
            while len(known) > REMEMBERED:
                known.popitem(last=False)
        known.move_to_end(row)
        return known[row]

    def _make(self, view: LatentView, row: int) -> Plain | None:
        try:
            example = view.dataset.load(row)
        except UnreadableExample:  # the report counts it, and says so
            return None
        raw = view.extractor.picture(example)
        if raw is None:
            return None
        scale = self.side / max(raw.shape[:2])
        size = (round(raw.shape[1] * scale), round(raw.shape[0] * scale))
        canvas = Image.fromarray(raw).resize(size, Image.Resampling.BICUBIC)
        arcsec = _arcsec(view, example, size[0])
        words = draw.scale_bar(ImageDraw.Draw(canvas), (0, 0, *size), arcsec) if arcsec else ""
        return np.asarray(canvas), words


def _arcsec(view: LatentView, example: Example, width: int) -> float | None:
    """Arcseconds a pixel of a drawing of this width. The model's picture is the cut-out resized and cropped; how far
    tells a mask over the cut-out's middle, carried along."""
    own, raw = draw.arcsec_of(view.dataset, example.row), example.input
    if own is None or not isinstance(raw, Image.Image):
        return None
    left, right = raw.width // 4, raw.width - raw.width // 4
    middle = np.zeros((raw.height, raw.width), dtype=bool)
    middle[:, left:right] = True
    share = float(view.extractor.place(middle, example).any(axis=0).mean())
    return own * (right - left) / (share * width) if 0 < share < 1 else None


def smoothed(values: Float[np.ndarray, "y x"], size: tuple[int, int]) -> Float[np.ndarray, "y2 x2"]:
    """A map at a picture's size (height, width), linear between the middles of its cells and level beyond them."""
    return _weights(values.shape[0], size[0]) @ values @ _weights(values.shape[1], size[1]).T


def outline(above: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """The pixels of an area that touch what is not in it, two pixels wide; the picture's border is no outline."""
    inside = np.pad(above, 2, mode="edge")
    core = inside.copy()
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            core &= np.roll(inside, step, axis=axis)
    return above & ~core[2:-2, 2:-2]


@cache
def _weights(cells: int, pixels: int) -> Float[np.ndarray, "pixel cell"]:
    """How much of each cell's value stands at each pixel."""
    at = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    low = np.minimum(np.floor(at).astype(int), max(cells - 2, 0))
    out = np.zeros((pixels, cells), dtype=np.float32)
    out[np.arange(pixels), low] = 1 - (at - low)
    if cells > 1:
        out[np.arange(pixels), low + 1] = at - low
    return out
