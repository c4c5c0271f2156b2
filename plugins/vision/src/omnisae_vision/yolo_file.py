"""YOLO's files: a line an object, and the names of the classes."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from omnisae.errors import DatasetError, did_you_mean

ROUNDING = 1e-4
"""By how much a fraction may leave [0, 1]: files are written with six digits or so."""
Corner = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """An object: the number of its class, and its box (left, top, right, bottom) or its corners, as fractions of the
    picture. `beyond`: its box reaches over the picture's edge."""

    what: str
    number: int
    box: tuple[float, float, float, float] | None = None
    polygon: tuple[Corner, ...] = ()
    beyond: bool = False


def read(path: Path, classes: Mapping[int, str]) -> list[Line]:
    """The objects of a text file; none where it is empty. Raises DatasetError, which names the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", "mend or remove the file") from error
    found = [_line(f"{path}, line {at}", text, classes) for at, text in enumerate(lines, start=1) if text.strip()]
    unique: dict[object, Line] = {}
    for line in found:
        unique.setdefault((line.number, line.box, line.polygon), line)
    if len(unique) < len(found):
        warnings.warn(f"{path}: {len(found) - len(unique)} objects stand twice and count once", stacklevel=2)
    return list(unique.values())


def read_names(path: Path) -> dict[int, str]:
    """The classes of a YAML file: a list or a mapping of numbers, under `names` or `classes`. Raises DatasetError."""
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{path} cannot be read: {error}", "give YOLO's YAML file with `names`") from error
    names = (held.get("names") or held.get("classes")) if isinstance(held, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(isinstance(n, int) and n >= 0 for n in names):
        raise DatasetError(
            f"{path} holds no names of classes",
            "it needs `names`: a list, or a mapping of numbers to names, e.g. names: {0: cat, 1: dog}",
        )
    return {number: str(name) for number, name in names.items()}


def _line(what: str, text: str, classes: Mapping[int, str]) -> Line:
    words = text.split()
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        raise DatasetError(f"{what}: {text.strip()[:60]!r} does not consist of numbers", "mend the line") from None
    if not words[0].isdecimal() or int(words[0]) not in classes:
        raise DatasetError(
            f"{what}: there is no class {words[0]!r}", did_you_mean(words[0], map(str, classes)) + " (dataset.names)"
        )
    wrong = [value for value in values if not -ROUNDING <= value <= 1 + ROUNDING]
    if wrong:
        raise DatasetError(
            f"{what}: {wrong[0]:g} is no fraction of the picture; YOLO's numbers lie between 0 and 1",
            "divide x and width by the picture's width, y and height by its height",
        )
    if len(values) == 4:
        return _box(what, int(words[0]), *values)
    if len(values) >= 6 and len(values) % 2 == 0:
        return Line(what, int(words[0]), polygon=tuple(zip(values[0::2], values[1::2], strict=True)))
    raise DatasetError(
        f"{what} holds {len(values)} numbers behind the class",
        "a box has 4 (centre x and y, width, height), a polygon an even number from 6 on; a predicted box with its "
        "confidence is no truth",
    )


def _box(what: str, number: int, x: float, y: float, width: float, height: float) -> Line:
    if width <= 0 or height <= 0:
        raise DatasetError(f"{what}: a box of {width:g} × {height:g} has no extent", "mend or remove the line")
    edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    beyond = min(edges) < -ROUNDING or max(edges) > 1 + ROUNDING
    return Line(what, number, edges, beyond=beyond)
