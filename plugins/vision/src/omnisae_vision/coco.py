"""The dataset `vision.coco`: what COCO's JSON knows of regions."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from omnisae.concepts.annotations import Mask, Region
from omnisae.errors import DatasetError, did_you_mean
from omnisae_vision import coco_file, coco_panoptic
from omnisae_vision.coco_file import CocoFile, Entry, Id
from omnisae_vision.coco_shapes import drawn
from omnisae_vision.decode import size
from omnisae_vision.image_folder import PictureFolder
from omnisae_vision.masks import LOOKED_AT, Regions
from omnisae_vision.names import Names
from omnisae_vision.plugin_datasets import CocoConfig

Drawn = tuple[Entry, Bool[np.ndarray, "y x"] | None]


class CocoFolder(PictureFolder):
    """Pictures in a folder, and the regions that COCO's JSON gives them: see CocoConfig.

    Pictures that no JSON lists are not annotated; listed ones that are not there are counted.
    """

    _config: CocoConfig

    def __init__(self, config: CocoConfig) -> None:
        super().__init__(config, (config.segments,) if config.segments is not None else ())

    def find_regions(self) -> Regions:
        config = self._config
        sources = []
        for name in config.annotations:
            file = coco_file.read(self._file(name, "annotations", (".json",)))
            sources.append(Source(file, self._segments(file.path) if file.panoptic else None))
        return CocoRegions(sources, self._names, self._paths, config)

    def _segments(self, path: Path) -> Path:
        chosen = self._config.segments
        found = self._root / chosen if chosen is not None else path.with_suffix("")
        if not found.is_dir():
            raise DatasetError(
                f"{path} is panoptic, and there is no folder {found} of its PNGs", "name it in dataset.segments"
            )
        return found


@dataclass(frozen=True)
class Source:
    """A JSON file, and the folder of its PNGs where it is panoptic."""

    file: CocoFile
    folder: Path | None

    @property
    def pngs(self) -> list[Path]:
        """The panoptic PNGs, those that are there."""
        if self.folder is None:
            return []
        found = (self.folder / listed.segments for listed in self.file.images.values())
        return [path for path in found if path.is_file()]

    def shapes(self, image: Id, shape: tuple[int, int]) -> Iterator[Drawn]:
        """Every annotation of an image with its pixels. Raises DatasetError where they are damaged."""
        if self.folder is None:
            for entry in self.file.entries[image]:
                yield entry, drawn(entry.what, entry.shape, entry.box, shape)
            return
        path = self.folder / self.file.images[image].segments
        numbers = coco_panoptic.read(path)
        if numbers.shape != shape:
            raise DatasetError(
                f"the panoptic PNG {path} is {numbers.shape[1]} × {numbers.shape[0]} pixels and its picture "
                f"{shape[1]} × {shape[0]}",
                "give the pictures at the size that was annotated",
            )
        entries = self.file.entries[image]
        unknown = set(np.unique(numbers).tolist()) - {0} - {entry.number for entry in entries}
        if unknown:
            warnings.warn(f"{path} has segments that its JSON does not name: {sorted(unknown)[:3]}", stacklevel=2)
        for entry in entries:
            yield entry, numbers == entry.number


class CocoRegions:
    """The regions of every picture that a JSON lists, drawn when asked for.

    Each annotation is an instance of its category and, where the config says so, of the supercategory. A picture that
    several files list has the regions of all.
    """

    def __init__(self, sources: Sequence[Source], names: Names, pictures: Sequence[Path], config: CocoConfig) -> None:
        self._sources, self._pictures, self._config = sources, pictures, config
        self._concepts = [_concepts(source.file, config) for source in sources]
        self.concepts: tuple[str, ...] = tuple(sorted({c for of in self._concepts for cs in of.values() for c in cs}))
        known = {category.name for source in sources for category in source.file.categories.values()}
        for name in config.categories or ():
            if name not in known:
                raise DatasetError(f"dataset.categories: no category is called {name!r}", did_you_mean(name, known))
        self._lost: Counter[str] = Counter()
        for source in sources:
            self._lost.update(source.file.lost)
        self._images = [self._join(source.file, names) for source in sources]
        for row in sorted(set().union(*self._images))[:LOOKED_AT]:
            self._check(row, size(pictures[row], exif=config.exif))

    @property
    def files(self) -> list[Path]:
        return [path for source in self._sources for path in source.pngs]

    def notes(self) -> list[str]:
        return [f"{count} {what}" for what, count in sorted(self._lost.items())]

    def regions(self, row: int) -> list[Region] | None:
        """Raises DatasetError for a picture of another size than listed, and for shapes that are damaged."""
        if not any(row in images for images in self._images):
            return None
        shape = size(self._pictures[row], exif=self._config.exif)
        self._check(row, shape)
        return list(self._regions(row, shape))

    def _regions(self, row: int, shape: tuple[int, int]) -> Iterator[Region]:
        instance = 0
        for source, concepts, images in zip(self._sources, self._concepts, self._images, strict=True):
            for entry, where in source.shapes(images[row], shape) if row in images else ():
                instance += 1
                if entry.category not in concepts or (entry.crowd and self._config.crowd == "drop"):
                    continue
                if where is None or not where.any():
                    warnings.warn(f"{entry.what} covers no pixel of its picture, and is passed over", stacklevel=2)
                    continue
                yield from (Region(concept, instance, Mask(where)) for concept in concepts[entry.category])

    def _join(self, file: CocoFile, names: Names) -> dict[int, Id]:
        """The file's image of every picture that is there."""
        listed = [one.file for one in file.images.values()]
        spelt = [name if names.row(name) is not None else name.rpartition("/")[2] for name in listed]
        found: dict[int, Id] = {}
        for row, image in zip(names.join(spelt, f"{file.path}"), file.images, strict=True):
            if row is None:
                self._lost[f"pictures that {file.path.name} lists are not there"] += 1
            elif found.setdefault(row, image) != image:
                raise DatasetError(
                    f"{file.path} lists the picture {names.ids[row]!r} twice, as images {found[row]} and {image}",
                    "keep one of the two",
                )
        return found

    def _check(self, row: int, found: tuple[int, int]) -> None:
        for source, images in zip(self._sources, self._images, strict=True):
            listed = source.file.images[images[row]].size if row in images else None
            if listed is not None and listed != found:
                turned = listed == found[::-1] and not self._config.exif
                raise DatasetError(
                    f"{source.file.path} says that {self._pictures[row]} is {listed[1]} × {listed[0]} pixels, and it "
                    f"is {found[1]} × {found[0]}",
                    "give the pictures at the size that was annotated"
                    + (", or set dataset.exif: true if that was on turned pictures" if turned else ""),
                )


def _concepts(file: CocoFile, config: CocoConfig) -> dict[Id, tuple[str, ...]]:
    """The concepts of each category that is wanted."""
    found: dict[Id, tuple[str, ...]] = {}
    for number, category in file.categories.items():
        if config.categories is None or category.name in config.categories:
            above = category.above if config.supercategories else ""
            found[number] = tuple(dict.fromkeys(name for name in (category.name, above) if name))
    return found
