"""COCO's JSON, read and checked: categories, pictures, and what is annotated in them."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from omnisae.errors import DatasetError

Id = int | str


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of thing or stuff, and the kind above it (empty: none)."""

    name: str
    above: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A picture that the file lists; `size` (height, width) where it says so. `segments` is its panoptic PNG's name."""

    file: str
    size: tuple[int, int] | None
    segments: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One annotation: of an instance, with a shape or a box, or one segment of a panoptic PNG (`number`)."""

    what: str
    category: Id
    crowd: bool
    shape: Any = None
    box: Any = None
    number: int = 0


@dataclass(frozen=True)
class CocoFile:
    """One JSON file. `entries` are the annotations by the id of their image."""

    path: Path
    panoptic: bool
    categories: Mapping[Id, Category]
    images: Mapping[Id, Listed]
    entries: Mapping[Id, Sequence[Entry]]
    lost: Counter[str] = field(default_factory=Counter)
    """What counts for nothing, and how often."""


def read(path: Path) -> CocoFile:
    """The file, with all that refers to something that it lists. Raises DatasetError, which names the annotation."""
    try:
        held = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as JSON: {error}", "give COCO's annotations") from error
    if not isinstance(held, dict) or not all(
        isinstance(held.get(k), list) for k in ("images", "annotations", "categories")
    ):
        raise DatasetError(
            f"{path} is not COCO's format: it holds no lists `images`, `annotations` and `categories`",
            "give a file of instances, stuff or panoptic segments (captions and results hold no regions)",
        )
    categories = {
        number: Category(str(one["name"]), str(one.get("supercategory") or ""))
        for number, one in _by_id(path, held["categories"], "category", ("name",)).items()
    }
    pictures = {
        number: Listed(str(one["file_name"]), _size(path, number, one))
        for number, one in _by_id(path, held["images"], "image", ("file_name",)).items()
    }
    if any("segments_info" in one for one in held["annotations"]):
        return _panoptic(path, categories, pictures, held["annotations"])
    return _instances(path, categories, pictures, held["annotations"])


def _instances(path: Path, categories: dict[Id, Category], pictures: dict[Id, Listed], given: list[Any]) -> CocoFile:
    file = CocoFile(path, False, categories, pictures, {image: [] for image in pictures})
    entries: dict[Id, list[Entry]] = file.entries  # type: ignore[assignment]
    seen: set[Any] = set()
    for place, one in enumerate(given):
        what = _what(path, one, place)
        if one.get("id", place) in seen:
            raise DatasetError(f"{what} stands twice", "give every annotation an id of its own")
        seen.add(one.get("id", place))
        image = _known(what, one, "image_id", pictures)
        category = _known(what, one, "category_id", categories)
        if _outside(one.get("bbox"), pictures[image].size):
            file.lost[f"annotations of {path.name} lie outside their picture or have no extent, e.g. {what}"] += 1
            continue
        crowd = bool(one.get("iscrowd", 0))
        entries[image].append(Entry(what, category, crowd, one.get("segmentation"), one.get("bbox")))
    if given and not any(entries.values()):
        raise DatasetError(
            f"all {len(given)} annotations of {path} lie outside their pictures",
            "a bbox is left, top, width, height in pixels of the picture at its own size",
        )
    return file


def _panoptic(path: Path, categories: dict[Id, Category], pictures: dict[Id, Listed], given: list[Any]) -> CocoFile:
    entries: dict[Id, list[Entry]] = {}
    for place, one in enumerate(given):
        what = _what(path, one, place)
        image = _known(what, one, "image_id", pictures)
        if image in entries:
            raise DatasetError(f"{what} is the second of image {image}", "a panoptic file has one a picture")
        entries[image] = _segments(what, one.get("segments_info", ()), categories)
        listed = pictures[image]
        pictures[image] = Listed(listed.file, listed.size, str(one.get("file_name") or Path(listed.file).stem + ".png"))
    annotated = {image: listed for image, listed in pictures.items() if image in entries}
    return CocoFile(path, True, categories, annotated, entries)


def _segments(what: str, given: Sequence[Any], categories: Mapping[Id, Category]) -> list[Entry]:
    found: dict[int, Entry] = {}
    for segment in given:
        number = segment.get("id")
        named = f"segment {number} of {what}"
        if not isinstance(number, int) or number in found:
            raise DatasetError(f"{named} stands twice, or is no whole number", "mend the file")
        category = _known(named, segment, "category_id", categories)
        found[number] = Entry(named, category, bool(segment.get("iscrowd", 0)), number=number)
    return list(found.values())


def _by_id(path: Path, given: list[Any], noun: str, needed: Sequence[str]) -> dict[Id, Any]:
    found: dict[Id, Any] = {}
    for place, one in enumerate(given):
        for key in ("id", *needed):
            if not isinstance(one, dict) or key not in one:
                raise DatasetError(f"{path}: {noun} number {place} has no {key!r}", "mend the file")
        if not _is_id(one["id"]):
            raise DatasetError(
                f"{path}: the id of {noun} number {place} is {one['id']!r}; an id is a whole number or text",
                "mend the file",
            )
        if found.setdefault(one["id"], one) is not one:
            raise DatasetError(
                f"{path}: the {noun} id {one['id']!r} stands twice, for {found[one['id']][needed[0]]!r} and "
                f"{one[needed[0]]!r}",
                "give every one an id of its own",
            )
    return found


def _size(path: Path, number: Id, image: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    if height is None or width is None:
        return None
    if not all(isinstance(n, int) and n > 0 for n in (height, width)):
        raise DatasetError(f"{path}: image {number} is {width!r} × {height!r} pixels", "mend the file")
    return height, width


def _known(what: str, one: Mapping[str, Any], key: str, known: Mapping[Id, Any]) -> Id:
    number = one.get(key)
    if not _is_id(number) or number not in known:
        noun = key.removesuffix("_id")
        raise DatasetError(f"{what} names the {noun} {number!r}, which the file does not list", "mend the file")
    return number


def _is_id(given: Any) -> TypeGuard[Id]:
    """COCO's own ids are whole numbers; converters write file names, too."""
    return isinstance(given, (int, str)) and not isinstance(given, bool)


def _what(path: Path, one: Any, place: int) -> str:
    if not isinstance(one, dict):
        raise DatasetError(f"{path}: annotation number {place} is no object", "mend the file")
    return f"{path}, annotation {one.get('id', f'number {place}')}"


def _outside(box: Any, size: tuple[int, int] | None) -> bool:
    """Whether a box has nothing of the picture. A damaged one is told when it is drawn."""
    if size is None or not isinstance(box, list) or len(box) != 4 or not all(isinstance(n, (int, float)) for n in box):
        return False
    left, top, width, height = box
    return bool(
        width <= 0 or height <= 0 or left >= size[1] or top >= size[0] or left + width <= 0 or top + height <= 0
    )
