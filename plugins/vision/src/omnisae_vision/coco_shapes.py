"""Shapes as COCO's JSON holds them, drawn by COCO's own tools: polygons, run lengths, boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from omnisae.errors import DatasetError, PluginError
from omnisae_vision.masks import box_mask

FAR = 1.0
"""How far beyond the picture, in its own lengths, a polygon may reach: what reaches further is in other units."""


def drawn(what: str, shape: Any, box: Any, size: tuple[int, int]) -> Bool[np.ndarray, "y x"] | None:
    """The pixels of one annotation in a picture of `size` (height, width).

    `shape` is its `segmentation` (polygons, or run lengths, compressed or not), `box` its `bbox` (left, top, width,
    height; edges in pixels), which counts where there is no shape. What lies outside the picture is cut off; None where
    all of it does, or the annotation says nothing of a place. Raises DatasetError, which names `what`, where it is
    damaged.
    """
    if isinstance(shape, Mapping):
        return _run_lengths(what, shape, size)
    if shape:
        return _polygons(what, shape, size)
    if box is None:
        return None
    left, top, width, height = numbers(what, box, 4)
    return box_mask(left, top, left + width, top + height, size)


def numbers(what: str, given: Any, count: int | None = None) -> list[float]:
    """Finite numbers. Raises DatasetError."""
    right = isinstance(given, Sequence) and not isinstance(given, str) and (count is None or len(given) == count)
    if not right or not all(isinstance(n, (int, float)) and np.isfinite(n) for n in given):
        wanted = f"{count} numbers" if count is not None else "numbers"
        raise DatasetError(f"{what} holds {_short(given)} where {wanted} must stand", "mend the file")
    return [float(n) for n in given]


def _polygons(what: str, shape: Any, size: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        raise DatasetError(
            f"{what} has a segmentation {_short(shape)}, which is neither polygons nor run lengths", "mend the file"
        )
    rings = [numbers(what, ring) for ring in shape]
    for ring in rings:
        if len(ring) < 6 or len(ring) % 2:
            raise DatasetError(
                f"{what} has a polygon of {len(ring)} numbers; it takes x and y of three corners or more",
                "mend the file",
            )
        _within(what, ring, size)
    tools, (height, width) = _tools(), size
    return _laid_out(unpacked(what, tools.merge(tools.frPyObjects(rings, height, width))["counts"]), size)


def _within(what: str, ring: Sequence[float], size: tuple[int, int]) -> None:
    """COCO's tools walk along every edge, however long: what is absurdly far outside is refused beforehand."""
    for values, length, axis in ((ring[0::2], size[1], "x"), (ring[1::2], size[0], "y")):
        low, high = min(values), max(values)
        if low < -FAR * length or high > (1 + FAR) * length:
            raise DatasetError(
                f"{what} has a polygon from {axis} = {low:g} to {high:g} in a picture of {length} pixels",
                "coordinates are pixels of the picture at its own size; mend the file",
            )


def _run_lengths(what: str, shape: Mapping[str, Any], size: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """Run lengths go down the columns; they begin with the pixels outside."""
    counts, stated = shape.get("counts"), shape.get("size")
    if list(stated or ()) != list(size):
        raise DatasetError(
            f"{what} has run lengths of a picture of size {_short(stated)} (height, width), and its picture has "
            f"{list(size)}",
            "give the pictures at the size that was annotated",
        )
    given = unpacked(what, counts) if isinstance(counts, (str, bytes)) else numbers(what, counts)
    runs = np.asarray(given, dtype=np.int64)
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise DatasetError(
            f"{what} has run lengths of {int(runs.sum())} pixels for a picture of {size[0] * size[1]}", "mend the file"
        )
    return _laid_out(runs, size)


def unpacked(what: str, packed: str | bytes) -> list[int]:
    """Compressed run lengths: five bits a character from `0` on, lowest first, its sixth bit says that more follow, the
    fifth of the last is the sign; from the third number on each is the difference to the last but one.

    As in pycocotools, whose own decoder takes it on trust that they fill the picture.
    """
    coded = packed.encode("ascii", "replace") if isinstance(packed, str) else packed
    runs: list[int] = []
    value = shift = 0
    for character in coded:
        bits = character - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DatasetError(f"{what} has run lengths that cannot be read: {_short(packed)}", "mend the file")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= (1 << shift) if bits & 16 else 0
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise DatasetError(f"{what} has run lengths that break off: {_short(packed)}", "mend the file")
    return runs


def _laid_out(runs: Sequence[int] | Int[np.ndarray, " run"], size: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(inside.reshape(size[1], size[0]).T)


def _tools() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise PluginError(
            f"polygons of COCO need the package pycocotools, which is not installed ({error})",
            "pip install 'omnisae-vision[coco]'",
        ) from error
    return mask


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "…"
