"""Where a latent fires in a picture: its map, the areas that are lit, and their boxes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from omnisae.errors import DatasetError
from omnisae.hooks.point import HookPoint
from omnisae.postings.postings import Postings

Grid = Float[np.ndarray, "cy cx"]
Picture = Float[np.ndarray, "y x"]


@dataclass(frozen=True, slots=True)
class Area:
    """A lit area: its box (left ≤ x < right, top ≤ y < bottom, in pixels), its peak (y, x) and the value there."""

    left: int
    top: int
    right: int
    bottom: int
    peak: tuple[int, int]
    value: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom


def check(hook: HookPoint) -> None:
    """Raises DatasetError where tokens have no place in the picture."""
    if not {"y", "x"} <= set(hook.axes):
        raise DatasetError(
            f"the hook point {hook.name!r} has the axes {', '.join(hook.axes) or 'none'}, and places need y and x",
            "hook a map of the model, such as bn2 of an EfficientNet",
        )


def grids(postings: Postings, row: int, latent: int) -> Grid:
    """A latent's values on the grid of an example's tokens; 0 where it is silent or the token was left out."""
    sizes = postings.sizes(row)
    out = np.zeros((sizes["y"], sizes["x"]), dtype=np.float64)
    coords, values = postings.firing(latent, row)
    y, x = (coords[:, postings.hook.axes.index(axis)] for axis in ("y", "x"))
    placed = (y >= 0) & (x >= 0)
    np.maximum.at(out, (y[placed], x[placed]), values[placed])
    return out


def kept(postings: Postings, row: int) -> Bool[np.ndarray, "cy cx"]:
    """The cells of an example whose tokens were kept."""
    sizes = postings.sizes(row)
    out = np.zeros((sizes["y"], sizes["x"]), dtype=bool)
    coords = np.asarray(postings.coords[postings.tokens_of(row)])
    y, x = (coords[:, postings.hook.axes.index(axis)] for axis in ("y", "x"))
    placed = (y >= 0) & (x >= 0)
    out[y[placed], x[placed]] = True
    return out


def upsampled(grid: Grid, size: tuple[int, int]) -> Picture:
    """A map at the picture's size, values between cells' middles interpolated linearly."""
    import torch
    from torch.nn.functional import interpolate

    values = torch.from_numpy(np.ascontiguousarray(grid, dtype=np.float32))[None, None]
    found: Picture = interpolate(values, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()
    return found


def lit(picture: Picture, threshold: float) -> Bool[np.ndarray, "y x"]:
    """What is brighter than a share of the map's largest value; nothing where the latent is silent."""
    top = float(picture.max(initial=0.0))
    return np.asarray(picture > threshold * top) if top > 0 else np.zeros(picture.shape, dtype=bool)


def areas(picture: Picture, threshold: float, least: int) -> list[Area]:
    """The connected lit areas of at least so many pixels, the brightest first."""
    from scipy.ndimage import find_objects, label

    labelled, count = label(lit(picture, threshold), structure=np.ones((3, 3)))
    sizes = np.bincount(labelled.ravel(), minlength=count + 1)
    slices, found = find_objects(labelled), []
    for number in range(1, count + 1):
        if sizes[number] < least:
            continue
        y, x = slices[number - 1]
        inside = np.where(labelled[y, x] == number, picture[y, x], -np.inf)
        down, across = np.unravel_index(int(inside.argmax()), inside.shape)
        at = (y.start + int(down), x.start + int(across))
        found.append(Area(x.start, y.start, x.stop, y.stop, at, float(picture[at])))
    return sorted(found, key=lambda area: -area.value)


def bounds(mask: Bool[np.ndarray, "y x"]) -> tuple[int, int, int, int] | None:
    """The box around a mask: left, top, right, bottom; None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def box_iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes."""
    wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(wide, 0) * max(tall, 0)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


def matched(truth: list[tuple[int, int, int, int]], found: list[tuple[int, int, int, int]]) -> list[float]:
    """The IoU of each true box with the box that it is matched to, each found box used once, so that their sum is the
    largest possible; 0 without a match."""
    from scipy.optimize import linear_sum_assignment

    out = [0.0] * len(truth)
    if truth and found:
        table = np.array([[box_iou(one, other) for other in found] for one in truth])
        for i, j in zip(*linear_sum_assignment(-table), strict=True):
            out[i] = float(table[i, j])
    return out
