"""The dataset `vision.hub_dataset`: pictures of Hugging Face `datasets`."""

import io
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from omnisae.concepts.annotations import Annotations, Mask, Region
from omnisae.errors import DatasetError, UnreadableExample
from omnisae.extract.dataset import Example
from omnisae_vision import decode, hub_load, tables
from omnisae_vision.attributes import NOT_KNOWN, Attributes, attributes
from omnisae_vision.coco_shapes import numbers
from omnisae_vision.hub_columns import Column, images
from omnisae_vision.image_folder import fingerprint
from omnisae_vision.labelled import Labelled
from omnisae_vision.masks import box_mask, by_value, fits
from omnisae_vision.names import Names
from omnisae_vision.plugin_datasets import HubDatasetConfig

Size = tuple[int, int]


class HubDataset(Labelled):
    """Pictures in a column of a Hugging Face dataset: see HubDatasetConfig. Columns are read when asked for, pictures
    as the bytes that are stored."""

    def __init__(self, config: HubDatasetConfig) -> None:
        self._config = config
        found = hub_load.load(config)
        self._data, self._files, self._stamp = found.data, found.files, found.stamp
        self._pictures = images(self._data, config.image, "image")
        self._masks = images(self._data, config.masks, "masks") if config.masks is not None else None
        label = config.label or ("label" if "label" in self._data.column_names else None)
        self._label = Column(self._data, label, "label") if label is not None else None
        self._boxes = Column(self._data, config.boxes, "boxes") if config.boxes is not None else None
        self._kinds = Column(self._data, config.box_labels, "box_labels") if config.box_labels is not None else None
        self._ids = self._named()

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        name = f"{self._config.image} of {self._ids[row]}"
        held = _open(self._pictures[row], name)
        return Example(row, self._ids[row], decode.read(held, exif=self._config.exif, name=name))

    def fingerprint(self) -> str:
        where = {"path", "cache"} if self._config.hub is None else {"cache"}
        settings = self._config.model_dump(mode="json", exclude=where) | {"stamp": self._stamp}
        return fingerprint(settings, self._files, Path(self._config.path).expanduser())

    def annotations(self) -> Annotations:
        labels = self.concepts()
        concepts = {*self._config.mask_values.values(), *self._box_names}
        if self._masks is None and self._boxes is None:
            return Annotations(self._ids, labels)
        return Annotations(self._ids, labels, self._regions, tuple(sorted(concepts)))

    def _named(self) -> list[str]:
        """The ids that a column gives; without one, the numbers of the rows."""
        column = self._config.id
        if column is None:
            return [f"{row:06d}" for row in range(len(self._data))]
        found = [tables.text(value) or "" for value in Column(self._data, column, "id").values]
        twice = [name for name, count in Counter(found).items() if count > 1 or not name]
        if twice:
            rows = [row for row, name in enumerate(found) if name == twice[0]]
            raise DatasetError(
                f"dataset.id: column {column!r} holds {twice[0]!r} in rows {rows[0]} and {rows[-1]}; an id is text or "
                f"a whole number, and stands once ({len(twice)} do not)",
                "name another column, or none: examples are then numbered",
            )
        return found

    @cached_property
    def classes(self) -> list[str] | None:
        if self._label is None:
            return None
        return [one or NOT_KNOWN for one in self._label.words]

    @cached_property
    def attributes(self) -> Attributes:
        config = self._config
        names = dict.fromkeys([*config.attributes, *([config.group] if config.group is not None else [])])
        if not names:
            return Attributes()
        columns = {name: Column(self._data, name, "attributes").words for name in names}
        table = tables.Table("the dataset", {"": self._ids, **columns}, self._ids, row="example")
        joined = Names(self._ids, self._ids)
        return attributes(table, joined, id="", columns=config.attributes, group=config.group)

    @cached_property
    def _box_names(self) -> tuple[str, ...]:
        if self._boxes is None:
            return ()
        if self._kinds is None:
            return ("object",)
        known = self._config.box_names or self._kinds.names
        if known:
            return tuple(known)
        return tuple(sorted({self._kind(one) for row in self._kinds.values for one in row or ()}))

    def _regions(self, row: int) -> list[Region] | None:
        masked = None if self._masks is None else self._masks[row]
        boxes = None if self._boxes is None else self._boxes[row]
        if masked is None and boxes is None:
            return None
        name = f"{self._config.image} of {self._ids[row]}"
        size = decode.size(_open(self._pictures[row], name), exif=self._config.exif, name=name)
        found = [] if masked is None else self._of_mask(masked, row, size)
        return found + ([] if boxes is None else self._of_boxes(boxes, row, size, len(found)))

    def _of_mask(self, held: Any, row: int, size: Size) -> list[Region]:
        name = f"{self._config.masks} of {self._ids[row]}"
        values = decode.read_mask(_open(held, name), name=name)
        fits(f"the mask {name}", (values.shape[0], values.shape[1]), "its picture", size, exif=self._config.exif)
        return by_value(values, self._config.mask_values)

    def _of_boxes(self, boxes: Sequence[Any], row: int, size: Size, before: int) -> list[Region]:
        kinds = ["object"] * len(boxes) if self._kinds is None else [self._kind(k) for k in self._kinds[row] or ()]
        if len(kinds) != len(boxes):
            raise DatasetError(
                f"example {self._ids[row]!r} has {len(boxes)} boxes and {len(kinds)} labels for them",
                "dataset.boxes and dataset.box_labels must name columns that go together",
            )
        found = []
        for instance, (box, kind) in enumerate(zip(boxes, kinds, strict=True), start=before + 1):
            what = f"box {instance - before} of {self._ids[row]}"
            where = box_mask(*self._edges(what, box, size), size)
            if where is None:
                warnings.warn(f"{what} lies outside its picture, and is passed over", stacklevel=2)
                continue
            found.append(Region(kind, instance, Mask(where)))
        return found

    def _edges(self, what: str, box: Any, size: Size) -> tuple[float, float, float, float]:
        """Left, top, right and bottom in pixels. Raises DatasetError where the box is damaged or in other units."""
        a, b, c, d = numbers(what, box, 4)
        form = self._config.box_format
        x, y, right, bottom = {
            "xyxy": (a, b, c, d),
            "xywh": (a, b, a + c, b + d),
            "cxcywh": (a - c / 2, b - d / 2, a + c / 2, b + d / 2),
        }[form]
        if right <= x or bottom <= y:
            raise DatasetError(f"{what}, {[a, b, c, d]}, has no extent as {form}", "set dataset.box_format")
        if self._config.box_units == "pixels":
            return x, y, right, bottom
        if max(abs(n) for n in (a, b, c, d)) > 1.001:
            raise DatasetError(
                f"{what}, {[a, b, c, d]}, is no fraction of the picture", "set dataset.box_units: pixels"
            )
        return x * size[1], y * size[0], right * size[1], bottom * size[0]

    def _kind(self, value: Any) -> str:
        assert self._kinds is not None
        names = self._config.box_names or self._kinds.names
        if not names or isinstance(value, str):
            return str(value)
        if not isinstance(value, int) or not 0 <= value < len(names):
            raise DatasetError(
                f"a box has the label {value!r}, and there are {len(names)} names", "give them all in dataset.box_names"
            )
        return names[value]


def _open(held: Mapping[str, Any], name: str) -> Any:
    """What a stored picture is read from: its bytes, or a file of this machine. Raises UnreadableExample."""
    if held is None or (held.get("bytes") is None and not held.get("path")):
        raise UnreadableExample(f"{name} is empty", "leave the row out")
    if held.get("bytes") is not None:
        return io.BytesIO(held["bytes"])
    path = str(held["path"])
    if "://" in path:
        raise UnreadableExample(
            f"{name} lies at {path}, which is not on this machine", "save the dataset with its pictures"
        )
    return Path(path)
