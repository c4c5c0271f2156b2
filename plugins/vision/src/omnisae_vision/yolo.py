"""The dataset `vision.yolo`: boxes and polygons out of YOLO's text files."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from omnisae.concepts.annotations import Mask, Region
from omnisae.errors import DatasetError
from omnisae_vision.decode import size
from omnisae_vision.image_folder import PictureFolder
from omnisae_vision.masks import Regions, box_mask
from omnisae_vision.names import Names
from omnisae_vision.plugin_datasets import YoloConfig
from omnisae_vision.yolo_file import Line, read, read_names


class YoloFolder(PictureFolder):
    """Pictures in a folder, and a text file for each with what is in it: see YoloConfig."""

    _config: YoloConfig

    def __init__(self, config: YoloConfig) -> None:
        super().__init__(config, (config.labels,))

    def find_regions(self) -> Regions:
        config, names = self._config, self._config.names
        if isinstance(names, str):
            classes = read_names(self._file(names, "names", (".yaml", ".yml")))
        else:
            classes = dict(enumerate(names))
        return YoloRegions(self._root / config.labels, self._names, self._paths, classes, config)


class YoloRegions:
    """The objects of every picture: all text files are read and checked at once, and drawn when asked for."""

    def __init__(
        self, folder: Path, names: Names, pictures: Sequence[Path], classes: dict[int, str], config: YoloConfig
    ) -> None:
        self._pictures, self._classes, self._config = pictures, classes, config
        self.concepts: tuple[str, ...] = tuple(sorted(set(classes.values())))
        self._files = _files(folder, names)
        self._lines = {row: read(path, classes) for row, path in self._files.items()}
        self._cut = sum(line.beyond for lines in self._lines.values() for line in lines)
        self._unlabelled = len(pictures) - len(self._files)

    @property
    def files(self) -> list[Path]:
        return [self._files[row] for row in sorted(self._files)]

    def notes(self) -> list[str]:
        said = []
        if self._cut:
            said.append(f"{self._cut} boxes reach beyond their picture's edge and are cut off there")
        if self._unlabelled:
            counted = "are not annotated" if self._config.missing == "unknown" else "count as without objects"
            said.append(f"{self._unlabelled} pictures have no text file and {counted}")
        return said

    def regions(self, row: int) -> list[Region] | None:
        lines = self._lines.get(row)
        if lines is None:
            return None if self._config.missing == "unknown" else []
        shape = size(self._pictures[row], exif=self._config.exif)
        found = []
        for instance, line in enumerate(lines, start=1):
            where = _drawn(line, shape)
            if where is None or not where.any():
                warnings.warn(f"{line.what}: it covers no pixel of its picture, and is passed over", stacklevel=2)
                continue
            found.append(Region(self._classes[line.number], instance, Mask(where)))
        return found


def _drawn(line: Line, shape: tuple[int, int]) -> Bool[np.ndarray, "y x"] | None:
    height, width = shape
    if line.box is not None:
        left, top, right, bottom = line.box
        return box_mask(left * width, top * height, right * width, bottom * height, shape)
    return _filled([(x * width, y * height) for x, y in line.polygon], shape)


def _filled(corners: Sequence[tuple[float, float]], shape: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """The pixels whose centres lie in a polygon (even-odd), and those that its outline runs through."""
    from PIL import Image, ImageDraw

    canvas: Any = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(canvas).polygon([(x - 0.5, y - 0.5) for x, y in corners], fill=1, outline=1)
    return np.asarray(canvas, dtype=bool)


def _files(folder: Path, names: Names) -> dict[int, Path]:
    if not folder.is_dir():
        raise DatasetError(
            f"there is no folder of text files {folder}", "name it in dataset.labels, below dataset.root"
        )
    paths = [Path(at) / name for at, _, files in sorted(os.walk(folder)) for name in sorted(files)]
    texts = [path for path in paths if path.suffix == ".txt" and path.name != "classes.txt"]
    if not texts:
        raise DatasetError(f"{folder} holds no .txt file", "YOLO has one a picture, of the picture's name")
    rows = names.join([path.relative_to(folder).with_suffix("").as_posix() for path in texts], f"the files in {folder}")
    found: dict[int, Path] = {}
    for row, path in zip(rows, texts, strict=True):
        if row is not None and found.setdefault(row, path) != path:
            raise DatasetError(f"{path} and {found[row]} are of one picture, {names.ids[row]!r}", "keep one")
    return found
