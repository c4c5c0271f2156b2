"""Where in the raw picture the model saw what: from pixels of the picture to pixels of the model's input, and back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from omnisae.errors import DatasetError
from omnisae.extract.dataset import Example
from omnisae.extract.extractor import Extractor
from omnisae_vision.geometry import as_picture

EDGES = 24
"""Straight edges that are carried through an extractor's geometry along each axis: each tells its place to half a
pixel, all together much more exactly."""
Mask = Bool[np.ndarray, "y x"]


@dataclass(frozen=True, slots=True)
class Along:
    """One axis: seen = raw · scale + offset, in pixels from the edge, and how many pixels there are."""

    scale: float
    offset: float
    raw: int
    seen: int

    def to_seen(self, raw: float) -> float:
        """The place of a raw pixel's edge in the model's input; outside of it where it was cropped away."""
        return raw * self.scale + self.offset

    def to_raw(self, seen: float) -> float:
        """The place in the raw picture; outside of it where the model saw padding."""
        return (seen - self.offset) / self.scale


@dataclass(frozen=True, slots=True)
class Placement:
    """How a picture of one size lies in the model's input: resized, cropped and padded along y and x."""

    y: Along
    x: Along

    def to_seen(self, y: float, x: float) -> tuple[float, float]:
        """A point of the raw picture in the model's input."""
        return self.y.to_seen(y), self.x.to_seen(x)

    def to_raw(self, y: float, x: float) -> tuple[float, float]:
        """A point of the model's input in the raw picture."""
        return self.y.to_raw(y), self.x.to_raw(x)

    def patch(self, row: int, column: int, grid: tuple[int, int]) -> tuple[float, float, float, float]:
        """What a token saw: top, left, bottom, right in raw pixels, cut off at the picture's edges. `grid` are the
        numbers of tokens along y and x; the token is the one in this row and column."""
        top, bottom = _cell(self.y, row, grid[0])
        left, right = _cell(self.x, column, grid[1])
        return top, left, bottom, right


def placement(extractor: Extractor, example: Example) -> Placement:
    """How an example's picture lies in the model's input, found by carrying edges through `extractor.place`.

    Raises DatasetError where the geometry turns or mirrors pictures, or shows nothing of this one.
    """
    width, height = as_picture(example.input).size

    def place(mask: Mask) -> Mask:
        return np.asarray(extractor.place(mask, example), dtype=bool)

    down = _along(height, lambda edge: np.asarray(place(_upper(height, width, edge)).any(axis=1)), example.id)
    across = _along(width, lambda edge: np.asarray(place(_upper(width, height, edge).T).any(axis=0)), example.id)
    return Placement(down, across)


def _along(pixels: int, carried: Callable[[int], Bool[np.ndarray, " pixel"]], name: str) -> Along:
    """An axis, by where edges come to lie: pixels before an edge are set, the others are not."""
    whole = np.flatnonzero(carried(pixels))
    seen = len(carried(pixels))
    if not len(whole):
        raise DatasetError(f"the model's input shows nothing of {name!r}", "take another image_size")
    found = _shown(carried, 0, pixels)
    before = max((edge for edge, set_ in found.items() if not len(set_)), default=0)
    beyond = min((edge for edge, set_ in found.items() if len(set_) == len(whole)), default=pixels)
    if (before, beyond) != (0, pixels):  # cropped: a closer look at what is left, however little of a long picture
        found |= _shown(carried, before, beyond)
    ends = [(edge, int(set_[-1]) + 1) for edge, set_ in found.items() if len(set_) and set_[-1] + 1 < seen]
    # A turned picture shows an edge along the other axis: on this one, every edge reaches all the way.
    turned = bool(found) and all(len(set_) == len(whole) for set_ in found.values())
    if turned or any(len(set_) and set_[0] > whole[0] for set_ in found.values()):
        raise DatasetError(
            f"the model's input shows {name!r} turned or mirrored",
            "places can be followed through resizing, cropping and padding",
        )
    if len({end for _, end in ends}) < 2:  # a picture of few pixels: its own two ends are left
        ends = [(0, int(whole[0])), (pixels, int(whole[-1]) + 1)]
    at, shown = np.array(ends, dtype=np.float64).T
    scale, offset = np.polyfit(at, shown, 1)
    return Along(float(scale), float(offset), pixels, seen)


def _shown(carried: Callable[[int], Bool[np.ndarray, " pixel"]], low: int, high: int) -> dict[int, np.ndarray]:
    """For edges between two others, which pixels of the model's input show something of what lies before them."""
    edges = np.unique(np.linspace(low, high, EDGES + 2).round().astype(int)[1:-1])
    return {int(edge): np.flatnonzero(carried(int(edge))) for edge in edges if low < edge < high}


def _upper(height: int, width: int, edge: int) -> Mask:
    mask = np.zeros((height, width), dtype=bool)
    mask[:edge] = True
    return mask


def _cell(axis: Along, at: int, cells: int) -> tuple[float, float]:
    ends = [axis.to_raw(axis.seen * edge / cells) for edge in (at, at + 1)]
    low, high = (float(np.clip(end, 0, axis.raw)) for end in ends)
    return low, high
