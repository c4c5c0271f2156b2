"""The lesions of a picture as regions: boxes, masks from files, and contours, turned as the picture is."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from omnisae.concepts.annotations import Mask, Region
from omnisae.errors import DatasetError, UnreadableExample
from omnisae_mammography import contours, pixels
from omnisae_mammography.header import Header
from omnisae_mammography.plugin import ExamsConfig
from omnisae_mammography.table import Finding, Known
from omnisae_mammography.turn import turned


class Regions:
    """What is known of places in the pictures."""

    def __init__(
        self,
        config: ExamsConfig,
        root: Path,
        paths: Sequence[Path],
        ids: Sequence[str],
        known: Mapping[int, Known],
        headers: Sequence[Header | None],
    ) -> None:
        self._root, self._paths, self._ids, self._known, self._headers = root, paths, ids, known, headers
        self._contours = self._find_contours(root / config.contours) if config.contours is not None else {}
        self._cut = 0
        for row, one in known.items():
            for finding in one.findings:
                if finding.mask is not None and not (root / finding.mask).is_file():
                    raise DatasetError(
                        f"the table's line {finding.line} names a mask of picture {ids[row]!r} that is not there",
                        "mend the line, or put the file below dataset.root",
                    )
                if finding.box is not None and (shape := self.shape(row)) is not None:
                    self._cut += self._check(row, finding, shape)

    @cached_property
    def files(self) -> list[Path]:
        """Files of masks and contours."""
        masks = {self._root / f.mask for one in self._known.values() for f in one.findings if f.mask}
        return sorted(masks) + [self._contours[row][0] for row in sorted(self._contours)]

    @cached_property
    def concepts(self) -> tuple[str, ...]:
        """The concepts that have regions."""
        named = {c for one in self._known.values() for f in one.findings for c in f.concepts}
        return tuple(sorted(named | {name for _, rois in self._contours.values() for name, _ in rois}))

    @cached_property
    def all_concepts(self) -> tuple[str, ...]:
        """The concepts that pictures have, with or without a region."""
        return tuple(sorted({c for one in self._known.values() for c in one.concepts} | set(self.concepts)))

    @cached_property
    def annotated(self) -> tuple[int, ...]:
        """The pictures of which it is known what was found. With contours: those in the table, or with a contour."""
        return tuple(sorted(set(self._known) | set(self._contours)))

    def present(self, row: int) -> set[str]:
        """The concepts of a picture."""
        known = self._known.get(row)
        own = set(known.concepts) | {c for f in known.findings for c in f.concepts} if known else set()
        return own | {name for name, _ in self._contours.get(row, (None, []))[1]}

    def shape(self, row: int) -> tuple[int, int] | None:
        """Height and width of the picture as it is stored; None where nothing is known of its places, or where it
        cannot be read."""
        if row not in self._known and row not in self._contours:
            return None
        about = self._headers[row]
        if about is not None:
            return about.shape
        if self._paths[row].suffix.lower() not in pixels.PICTURES:
            return None
        from PIL import Image

        try:
            with Image.open(self._paths[row]) as picture:
                return picture.height, picture.width
        except Exception:
            return None

    def of(self, row: int, turn: Callable[[], bool]) -> list[Region] | None:
        """The regions of a picture, None where it was not annotated; `turn` tells whether the picture is turned.

        Raises DatasetError for a mask of another size.
        """
        shape = self.shape(row)
        if shape is None:
            return None
        found: list[tuple[Sequence[str], Bool[np.ndarray, "y x"]]] = []
        known = self._known.get(row)
        for finding in known.findings if known else ():
            found.append((finding.concepts, self._where(row, finding, shape)))
        for name, polygon in self._contours.get(row, (None, []))[1]:
            found.append(((name,), contours.fill(polygon, shape)))
        if not found:
            return []
        mirror = turn()
        regions = []
        for instance, (concepts, where) in enumerate(found, start=1):
            place = Mask(turned(where) if mirror else where)
            regions += [Region(concept, instance, place) for concept in concepts]
        return regions

    def notes(self) -> list[str]:
        """How many boxes had to be cut."""
        return [f"{self._cut} boxes reach beyond their picture and were cut there."] if self._cut else []

    def _check(self, row: int, finding: Finding, shape: tuple[int, int]) -> bool:
        """Whether a box reaches beyond its picture. Raises DatasetError where all of it lies there."""
        assert finding.box is not None
        left, top, right, bottom = finding.box
        if left >= shape[1] or top >= shape[0] or right <= 0 or bottom <= 0:
            raise DatasetError(
                f"the table's line {finding.line}: the box lies outside picture {self._ids[row]!r}, which is "
                f"{shape[1]} × {shape[0]} pixels",
                "give boxes in pixels of the picture as it is stored, not of a resized one",
            )
        return left < 0 or top < 0 or right > shape[1] or bottom > shape[0]

    def _where(self, row: int, finding: Finding, shape: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
        if finding.mask is not None:
            return self._mask(row, finding, shape)
        assert finding.box is not None
        left, top, right, bottom = finding.box
        x0, x1 = int(max(np.floor(left), 0)), int(min(np.ceil(right), shape[1]))
        y0, y1 = int(max(np.floor(top), 0)), int(min(np.ceil(bottom), shape[0]))
        where = np.zeros(shape, dtype=bool)
        where[y0:y1, x0:x1] = True
        return where

    def _mask(self, row: int, finding: Finding, shape: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
        assert finding.mask is not None
        try:
            where = pixels.read_mask(self._root / finding.mask, f"picture {self._ids[row]!r}")
        except UnreadableExample as error:
            raise DatasetError(error.problem, error.remedy) from None
        if where.shape != shape:
            raise DatasetError(
                f"the mask of picture {self._ids[row]!r} (the table's line {finding.line}) is {where.shape[1]} × "
                f"{where.shape[0]} pixels, and the picture {shape[1]} × {shape[0]}",
                "draw masks at the picture's own size; CBIS-DDSM's cropped pictures are not its ROI masks",
            )
        return where

    def _find_contours(self, folder: Path) -> dict[int, tuple[Path, list[tuple[str, contours.Polygon]]]]:
        if not folder.is_dir():
            raise DatasetError(f"dataset.contours: there is no folder {folder}", "name it below dataset.root")
        found = {}
        lists = {path.stem: path for path in folder.rglob("*.xml")}
        for row, path in enumerate(self._paths):
            stem = path.name.partition(".")[0]
            near = lists.get(stem) or lists.get(stem.partition("_")[0])
            if near is not None:
                found[row] = (near, contours.read(near, f"picture {self._ids[row]!r}"))
        return found
