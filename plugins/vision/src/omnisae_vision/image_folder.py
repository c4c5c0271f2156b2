"""Pictures in folders, and the dataset `vision.image_folder`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnisae.concepts.annotations import Annotations
from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.dataset import Example
from omnisae_vision import decode, folder, tables, world
from omnisae_vision.attributes import Attributes, Concepts, attributes
from omnisae_vision.labelled import Labelled
from omnisae_vision.masks import Masks, Regions
from omnisae_vision.names import Names

if TYPE_CHECKING:
    from omnisae_vision.plugin_datasets import FolderConfig, ImageFolderConfig


class PictureFolder(Labelled):
    """Pictures in folders, with a table of attributes where there is one. `load` gives PIL pictures in RGB.

    Concepts of whole pictures: `class=<folder>`, the columns of the attributes table (`column=word` for words).
    What is known of regions, a subclass finds (`find_regions`).
    """

    def __init__(self, config: "FolderConfig", beside: Sequence[str] = ()) -> None:
        """`beside` are folders below the root that hold no pictures of the dataset."""
        self._config = config
        root = world.folder(config.root)
        if not root.is_dir():
            raise DatasetError(
                f"dataset.root: there is no folder {root}", "name the folder of pictures, or 'world:shapes'"
            )
        below = config.images if config.images is not None else ("images" if (root / "images").is_dir() else ".")
        self._home = root / below
        found = folder.find(self._home, classes=config.classes, beside=tuple(root / name for name in beside))
        self._ids = folder.ids(found)
        self._paths = [self._home / f.relative for f in found]
        labels = [f.label for f in found if f.label is not None]
        self._classes = labels if len(labels) == len(found) else None
        self._names = Names(self._ids, [f.relative for f in found])
        self._root = root
        self._tables: list[Path] = []
        self._attributes = self._read_attributes()
        self._regions = self.find_regions()

    def find_regions(self) -> Regions | None:
        """What is known of regions. Default: nothing."""
        return None

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def path(self, row: int) -> Path:
        """Where a picture lies."""
        return self._paths[row]

    def load(self, row: int) -> Example:
        return Example(row, self._ids[row], decode.read(self._paths[row], exif=self._config.exif))

    def fingerprint(self) -> str:
        settings = self._config.model_dump(mode="json", exclude={"root"})
        files = [*self._paths, *self._tables, *(self._regions.files if self._regions else ())]
        return fingerprint(settings, files, self._root)

    def annotations(self) -> Annotations:
        labels = self.concepts()
        if self._regions is None:
            return Annotations(self._ids, labels)
        return Annotations(self._ids, labels, self._regions.regions, self._regions.concepts)

    @property
    def classes(self) -> Sequence[str] | None:
        """None where folders are not classes."""
        return self._classes

    @property
    def attributes(self) -> Attributes:
        return self._attributes

    def concepts(self) -> Concepts:
        """A folder is a class whatever it is called, also where its name is that of what is not known."""
        found = self._classes or ()
        classes = {f"class={name}": np.array(found) == name for name in sorted(set(found))}
        return {name: is_it.astype(np.float64) for name, is_it in classes.items()} | dict(self._attributes.concepts)

    def notes(self) -> Sequence[str]:
        return self._regions.notes() if self._regions is not None else ()

    def _read_attributes(self) -> Attributes:
        config = self._config
        if config.attributes is None:
            for key in ("columns", "group"):
                if getattr(config, key) is not None:
                    raise DatasetError(
                        f"dataset.{key} names columns of a table, and none is given", "set dataset.attributes"
                    )
            return Attributes()
        path = self._file(config.attributes, "attributes", (".csv", ".tsv"))
        return attributes(tables.read(path), self._names, id=config.id, columns=config.columns, group=config.group)

    def _file(self, name: str, key: str, endings: tuple[str, ...]) -> Path:
        """A file below the root that a field of the config names; it counts for the fingerprint."""
        path = self._root / name
        if not path.is_file():
            near = did_you_mean(name, (p.name for p in self._root.iterdir() if p.suffix.lower() in endings))
            raise DatasetError(f"dataset.{key}: there is no file {path}", near)
        self._tables.append(path)
        return path


class ImageFolder(PictureFolder):
    """Pictures in folders with masks: see ImageFolderConfig. Concepts of regions: as the masks' table or values name
    them."""

    _config: "ImageFolderConfig"

    def __init__(self, config: "ImageFolderConfig") -> None:
        super().__init__(config, (config.masks,) if config.masks is not None else ())

    def find_regions(self) -> Masks | None:
        config, table = self._config, None
        if config.masks is None:
            return None
        home = self._root / config.masks
        if config.mask_values and config.mask_table is not None:
            raise DatasetError("dataset.mask_table and dataset.mask_values are both given", "give the one that holds")
        if not config.mask_values:
            path = config.mask_table or f"{config.masks}.csv"
            if config.mask_table is None and not (self._root / path).is_file():
                raise DatasetError(
                    f"{home} holds masks, and nothing says what their numbers are: there is no {self._root / path}",
                    "write that table (id, instance, concept), or give dataset.mask_values, e.g. {1: cat, 2: dog}",
                )
            table = tables.read(self._file(path, "mask_table", (".csv", ".tsv")))
        return Masks(
            home, self._names, self._paths, table=table, id=config.id, values=config.mask_values, exif=config.exif
        )


def fingerprint(settings: Mapping[str, object], files: Sequence[Path], root: Path) -> str:
    """A hash of settings and of the files' places below `root`, sizes and times."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in files:
        about = path.stat()
        place = path.relative_to(root) if path.is_relative_to(root) else path
        digest.update(f"\n{place.as_posix()} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()
