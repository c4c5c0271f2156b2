"""Masks: pictures whose pixels are whole numbers, and what those numbers stand for."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Integer

from omnisae.concepts.annotations import Mask, Region
from omnisae.errors import DatasetError
from omnisae_vision.decode import read_mask, size
from omnisae_vision.names import Names
from omnisae_vision.tables import Table

ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".gif")
LOOKED_AT = 64
"""Masks whose size is compared with their picture's before the run begins; the others when they are read."""


class Regions(Protocol):
    """What is known of places in pictures, whatever file it comes from."""

    concepts: tuple[str, ...]
    """All that a region may show."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that it is read from."""

    def regions(self, row: int) -> list[Region] | None:
        """The regions of a picture; None where it is not annotated. Raises DatasetError where they cannot be read."""

    def notes(self) -> Sequence[str]:
        """What of them counts for nothing, and how much, in sentences."""


class Masks:
    """The masks of a folder, read when asked for.

    Two schemes: a table gives the concepts of each number of each mask (numbers are instances, 0 is background; one
    number may have several concepts); or `values` gives the concept of each number in all of them (numbers are kinds,
    one instance a kind and picture).
    """

    def __init__(
        self,
        folder: Path,
        names: Names,
        pictures: Sequence[Path],
        *,
        table: Table | None,
        id: str = "id",
        values: Mapping[int, str] | None = None,
        exif: bool = False,
    ) -> None:
        self._pictures, self._exif = pictures, exif
        self._files = _files(folder, names)
        self._values = dict(values or {})
        self._instances = _instances(table, names, id, set(self._files)) if table is not None else None
        if self._instances is not None:
            words = {c for found in self._instances.values() for cs in found.values() for c in cs}
        else:
            words = set(self._values.values())
        self.concepts: tuple[str, ...] = tuple(sorted(words))
        for row in sorted(self._files)[:LOOKED_AT]:
            self._check(self._files[row], row, size(self._files[row]))

    @property
    def files(self) -> list[Path]:
        """The masks' paths, in the order of the pictures."""
        return [self._files[row] for row in sorted(self._files)]

    def regions(self, row: int) -> list[Region] | None:
        """The regions of a picture; None where it has no mask.

        Raises DatasetError for a mask that is broken or of another size.
        """
        path = self._files.get(row)
        if path is None:
            return None
        numbers = read_mask(path)
        self._check(path, row, (numbers.shape[0], numbers.shape[1]))
        if self._instances is None:
            return by_value(numbers, self._values)
        return list(_by_instance(numbers, self._instances.get(row, {}), path))

    def notes(self) -> Sequence[str]:
        return ()

    def _check(self, path: Path, row: int, found: tuple[int, int]) -> None:
        wanted = size(self._pictures[row], exif=self._exif)
        fits(f"the mask {path}", found, f"its picture {self._pictures[row]}", wanted, exif=self._exif)


def fits(what: str, found: tuple[int, int], beside: str, wanted: tuple[int, int], *, exif: bool) -> None:
    """Raises DatasetError, which names both, where a mask has another size (height, width) than its picture."""
    if found == wanted:
        return
    turned = found == wanted[::-1] and not exif
    raise DatasetError(
        f"{what} is {found[1]} × {found[0]} pixels and {beside} {wanted[1]} × {wanted[0]}",
        "draw masks at the picture's own size"
        + (", or set dataset.exif: true if they are drawn on turned pictures" if turned else ""),
    )


def by_value(numbers: Integer[np.ndarray, "y x"], values: Mapping[int, str]) -> list[Region]:
    """The regions of a mask whose numbers mean the same in all masks: one instance a kind, those that are there."""
    named = enumerate(sorted(values.items()), start=1)
    places = [(concept, instance, numbers == value) for instance, (value, concept) in named]
    return [Region(concept, instance, Mask(where)) for concept, instance, where in places if where.any()]


def box_mask(
    left: float, top: float, right: float, bottom: float, size: tuple[int, int]
) -> Bool[np.ndarray, "y x"] | None:
    """The pixels of a picture of `size` (height, width) whose centres lie in a box, whose edges are in pixels. At least
    the pixel at its middle, where it is narrower than one; None where it lies outside the picture, or has no extent."""
    height, width = size
    if not (right > left and bottom > top and left < width and top < height and right > 0 and bottom > 0):
        return None
    rows, columns = _between(top, bottom, height), _between(left, right, width)
    where = np.zeros(size, dtype=bool)
    where[rows, columns] = True
    return where


def _between(low: float, high: float, pixels: int) -> slice:
    """The pixels whose centres lie between two edges, or the one in which their middle lies."""
    start, stop = max(int(np.ceil(low - 0.5)), 0), min(int(np.ceil(high - 0.5)), pixels)
    if start < stop:
        return slice(start, stop)
    middle = min(max(int((max(low, 0.0) + min(high, pixels)) / 2), 0), pixels - 1)
    return slice(middle, middle + 1)


def _files(folder: Path, names: Names) -> dict[int, Path]:
    if not folder.is_dir():
        raise DatasetError(f"there is no folder of masks {folder}", "name it in dataset.masks, below dataset.root")
    paths = [Path(at) / name for at, _, files in sorted(os.walk(folder)) for name in sorted(files)]
    masks = [path for path in paths if path.suffix.lower() in ENDINGS and not path.name.startswith(".")]
    if not masks:
        raise DatasetError(f"{folder} holds no mask", f"masks end in {', '.join(ENDINGS)}")
    rows = names.join([path.relative_to(folder).with_suffix("").as_posix() for path in masks], f"the masks in {folder}")
    found: dict[int, Path] = {}
    for row, path in zip(rows, masks, strict=True):
        if row is not None and found.setdefault(row, path) != path:
            raise DatasetError(f"{path} and {found[row]} are masks of one picture, {names.ids[row]!r}", "keep one")
    return found


def _instances(table: Table, names: Names, id: str, masked: set[int]) -> dict[int, dict[int, list[str]]]:
    """Concepts by picture and instance."""
    rows = names.join(table.column(id), f"{table.path}")
    found: dict[int, dict[int, list[str]]] = {}
    for i, (row, instance, concept) in enumerate(
        zip(rows, table.column("instance"), table.column("concept"), strict=True)
    ):
        if not instance.isdecimal() or int(instance) == 0 or not concept:
            raise DatasetError(
                f"{table.path}, line {table.lines[i]}: instance {instance!r} with concept {concept!r}; an instance is "
                "a whole number above 0 (0 is background) and a concept has a name",
                "mend the line",
            )
        if row is not None:
            found.setdefault(row, {}).setdefault(int(instance), []).append(concept)
    without = [names.ids[row] for row in found if row not in masked]
    if without:
        warnings.warn(
            f"{table.path}: {len(without)} pictures have lines but no mask, e.g. {without[0]!r}", stacklevel=2
        )
    return found


def _by_instance(
    numbers: Integer[np.ndarray, "y x"], concepts: Mapping[int, Sequence[str]], path: Path
) -> Iterator[Region]:
    for instance, named in sorted(concepts.items()):
        where = numbers == instance
        if not where.any():
            warnings.warn(f"{path} has no pixel of instance {instance}, which its table names", stacklevel=2)
            continue
        mask = Mask(where)
        yield from (Region(concept, instance, mask) for concept in named)
