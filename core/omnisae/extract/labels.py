"""Label columns: read from a CSV, joined to examples by id, and turned into concepts."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from omnisae.errors import DatasetError, did_you_mean

MOST_CATEGORIES = 100
"""Different values of a column above which it names examples rather than sorts them."""


@dataclass(frozen=True)
class Columns:
    """Label columns as text, one value an example; None where nothing is known. `notes` tell what did not join."""

    values: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def joined(self, other: "Columns") -> "Columns":
        """Both sets of columns. Raises DatasetError where a name stands in both."""
        twice = sorted(set(self.values) & set(other.values))
        if twice:
            raise DatasetError(f"the column {twice[0]!r} stands in both label tables", "rename it in one of them")
        return Columns({**self.values, **other.values}, (*self.notes, *other.notes))

    def concepts(self) -> tuple[dict[str, Float[np.ndarray, " example"]], list[str]]:
        """Concepts by name, and notes on columns that make none.

        A column of numbers in [0, 1] is one concept; any other makes one concept `column=value` of each of its values.
        """
        found: dict[str, Float[np.ndarray, " example"]] = {}
        notes = []
        for name, column in self.values.items():
            numbers = _numbers(column)
            if numbers is not None and _within_unit(numbers):
                found[name] = numbers
                continue
            kinds = sorted({value for value in column if value is not None})
            if len(kinds) > MOST_CATEGORIES:
                notes.append(
                    f"column {name!r} makes no concepts: {len(kinds)} different values (at most {MOST_CATEGORIES})"
                )
                continue
            unknown = np.array([value is None for value in column])
            for kind in kinds:
                is_it = np.array([value == kind for value in column], dtype=np.float64)
                found[f"{name}={kind}"] = np.where(unknown, np.nan, is_it)
        return found, notes


def read_labels(path: Path, ids: Sequence[str], id_column: str) -> Columns:
    """The columns of a CSV, joined by its id column to the examples with these ids.

    Raises DatasetError where the file or the column is missing, an id stands twice, or no id joins an example.
    """
    header, rows = _read(path)
    if id_column not in header:
        raise DatasetError(f"{path} has no column {id_column!r} to join by", did_you_mean(id_column, header))
    at = header.index(id_column)
    by_id: dict[str, list[str]] = {}
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise DatasetError(f"{path}, line {number}: {len(row)} values under {len(header)} columns", "mend the line")
        if row[at] in by_id:
            raise DatasetError(
                f"{path}, line {number}: the id {row[at]!r} stands there a second time", "keep one of them"
            )
        by_id[row[at]] = row
    known = set(ids)
    strangers = [name for name in by_id if name not in known]
    bare = [name for name in ids if name not in by_id]
    if len(strangers) == len(by_id):
        raise DatasetError(
            f"{path}: none of its {len(by_id)} ids joins one of the {len(ids)} examples; it has {_some(strangers)}, "
            f"and the examples are {_some(ids)}",
            "name the column whose values are the examples' ids",
        )
    notes = []
    if strangers:
        notes.append(f"{path.name}: {len(strangers)} of {len(by_id)} rows join no example ({_some(strangers)})")
    if bare:
        notes.append(f"{path.name}: {len(bare)} of {len(ids)} examples have no row ({_some(bare)}); unknown everywhere")
    empty = [""] * len(header)
    values = {
        name: [by_id.get(one, empty)[i] or None for one in ids] for i, name in enumerate(header) if name != id_column
    }
    return Columns(values, notes)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}", "check the path and its permissions") from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text: {error}", "save it as CSV in UTF-8") from None
    if not lines:
        raise DatasetError(f"{path} is empty", "its first line names the columns")
    return lines[0], [line for line in lines[1:] if line]


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (" …" if len(names) > 3 else "")


def _numbers(column: Sequence[str | None]) -> Float[np.ndarray, " example"] | None:
    try:
        return np.array([np.nan if value is None else float(value) for value in column], dtype=np.float64)
    except ValueError:
        return None


def _within_unit(numbers: Float[np.ndarray, " example"]) -> bool:
    known = numbers[~np.isnan(numbers)]
    return bool(len(known)) and bool(((known >= 0) & (known <= 1)).all())
