"""The table of what is known of the pictures: a row a box, a mask or a picture. Errors tell lines, never values."""

import csv
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from omnisae.errors import DatasetError, did_you_mean
from omnisae_mammography.plugin import Columns

UNKNOWN = frozenset({"", "na", "nan", "n/a", "null", "none"})
SIDES = {"l": "L", "left": "L", "r": "R", "right": "R"}
QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


@dataclass(frozen=True, slots=True)
class Finding:
    """A lesion of a picture, in pixels as it is stored: a box (left, top, right, bottom), or a mask's file."""

    concepts: tuple[str, ...]
    line: int
    box: tuple[float, float, float, float] | None = None
    mask: str | None = None


@dataclass
class Known:
    """What the table knows of one picture."""

    patient: str = ""
    laterality: str = ""
    view: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    concepts: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Table:
    """What is known by picture (its row), and how many lines joined none."""

    known: Mapping[int, Known]
    lines: int
    lost: int


def read(path: Path, columns: Columns, pictures: Sequence[str]) -> Table:
    """The table's rows, joined with the pictures' paths. Raises DatasetError: a missing column, a box that is none, no
    line that joins."""
    lines = list(_lines(path, columns))
    places = _Places(pictures, columns.prefix)
    known: dict[int, Known] = {}
    lost = 0
    for number, row in lines:
        at = places.find(row[columns.image])
        if at is None:
            lost += 1
            continue
        _add(known.setdefault(at, Known()), row, number, columns, path.name)
    if not known:
        raise DatasetError(
            f"none of the {len(lines)} lines of {path} names one of the {len(pictures)} pictures (column "
            f"{columns.image!r})",
            "a picture is named by its path below `images`, with or without ending, or by its file's name; "
            "dataset.columns says which column does",
        )
    return Table(known, len(lines), lost)


class _Places:
    """The row of a picture by what a table calls it."""

    def __init__(self, paths: Sequence[str], prefix: bool) -> None:
        self._rows: dict[str, int] = {}
        names = [PurePosixPath(path).name for path in paths]
        for spelling in (names, [_stem(name) for name in names]):
            often = Counter(spelling)
            self._rows |= {name: row for row, name in enumerate(spelling) if often[name] == 1}
        self._rows |= {_stem(path): row for row, path in enumerate(paths)} | {p: row for row, p in enumerate(paths)}
        self._names = sorted((name, row) for row, name in enumerate(names)) if prefix else []

    def find(self, word: str) -> int | None:
        word = word.strip().removeprefix("./")
        if word in self._rows:
            return self._rows[word]
        fits = [row for name, row in self._names if word and re.match(re.escape(word) + r"(?![0-9A-Za-z])", name)]
        return fits[0] if len(fits) == 1 else None


def _stem(path: str) -> str:
    return path[: -len(suffix)] if (suffix := PurePosixPath(path).suffix) else path


def _lines(path: Path, columns: Columns) -> list[tuple[int, dict[str, str]]]:
    """Every line's number with its cells by column."""
    delimiter = columns.delimiter or ("\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter, restkey="", restval="")
            header = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            rows = [(reader.line_num, {k: (v or "") for k, v in row.items() if k}) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"the table {path} cannot be read ({type(error).__name__})", "give a CSV or TSV file in UTF-8"
        ) from None
    for name in _named(columns):
        if name not in header:
            raise DatasetError(f"{path} has no column {name!r}", did_you_mean(name, header))
    return rows


def _named(columns: Columns) -> list[str]:
    single = (columns.image, columns.patient, columns.laterality, columns.view, columns.concept, columns.mask)
    return [name for name in (*single, *(columns.box or ()), *columns.attributes) if name is not None]


def _add(known: Known, row: Mapping[str, str], line: int, columns: Columns, file: str) -> None:
    """One line of the table, added to what is known of its picture."""
    if columns.patient:
        known.patient = known.patient or row[columns.patient].strip()
    if columns.laterality:
        known.laterality = known.laterality or SIDES.get(row[columns.laterality].strip().lower(), "")
    if columns.view:
        known.view = known.view or row[columns.view].strip().upper()
    for name in columns.attributes:
        known.attributes.setdefault(name, "" if row[name].strip().lower() in UNKNOWN else row[name].strip())
    concepts = words(row[columns.concept], columns.normal) if columns.concept else ()
    known.concepts.update(concepts)
    if not concepts and columns.concept:
        return
    box = _box(row, line, columns, file)
    mask = row[columns.mask].strip() if columns.mask else ""
    if box is not None or mask:
        known.findings.append(Finding(concepts or ("finding",), line, box, mask or None))


def words(cell: str, normal: Sequence[str]) -> tuple[str, ...]:
    """The concepts in a cell: one word, or the quoted words of a list."""
    cell = cell.strip()
    found = [one or other for one, other in QUOTED.findall(cell)] if cell.startswith("[") else [cell]
    return tuple(word.strip() for word in found if word.strip() and word.strip() not in normal)


def _box(row: Mapping[str, str], line: int, columns: Columns, file: str) -> tuple[float, float, float, float] | None:
    if columns.box is None:
        return None
    cells = [row[name].strip() for name in columns.box]
    if all(cell.lower() in UNKNOWN for cell in cells):
        return None
    try:
        left, top, right, bottom = (float(cell) for cell in cells)
    except ValueError:
        left = top = right = bottom = math.nan
    if not (left < right and top < bottom and all(map(math.isfinite, (left, top, right, bottom)))):
        raise DatasetError(
            f"{file}, line {line}: {', '.join(columns.box)} are no box: four numbers are needed, with "
            f"{columns.box[0]} < {columns.box[2]} and {columns.box[1]} < {columns.box[3]}",
            "mend the line, or empty the four cells where there is no box",
        )
    return left, top, right, bottom
