"""Text tables read whole, every value as text: CSV, tab-separated, or with another separator."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from jaxtyping import Float

from omnisae.errors import DatasetError, did_you_mean

Column = np.ndarray
"""Texts, one a line of the table (object array)."""


class Table:
    """Columns of text by name, and where they come from. Line numbers in messages are those of the file."""

    def __init__(self, path: Path, columns: Mapping[str, Column], first: int) -> None:
        self.path, self.columns, self.first = path, dict(columns), first

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def text(self, name: str) -> Column:
        """A column. Raises DatasetError where there is none of this name."""
        if name not in self.columns:
            raise DatasetError(f"{self.path} has no column {name!r}", did_you_mean(name, self.columns))
        return self.columns[name]

    def filled(self, name: str) -> Column:
        """A column of which every value is needed. Raises DatasetError where one is empty, naming the line."""
        values = self.text(name)
        empty = np.flatnonzero(values == "")
        if len(empty):
            raise DatasetError(
                f"{self.path}, line {self.line(int(empty[0]))}: {name} is empty ({len(empty)} lines lack it)",
                "give every line a value, or leave these lines out",
            )
        return values

    def numbers(self, name: str) -> Float[np.ndarray, " line"]:
        """A column of numbers. Raises DatasetError where a value is none, naming the line."""
        values = self.filled(name)
        try:
            found = values.astype(np.float64)
            if np.isfinite(found).all():
                return found
        except ValueError:
            pass
        at = next(i for i, value in enumerate(values) if not _is_number(value))
        raise DatasetError(
            f"{self.path}, line {self.line(at)}: {name} is {values[at]!r}, which is no finite number",
            "give a number (seconds, for times)",
        )

    def line(self, row: int) -> int:
        """The number of a row's line in the file."""
        return self.first + row


def read(path: Path, *, separator: str = ",", header: Sequence[str] | None = None, encoding: str = "utf-8") -> Table:
    """A table with its first line naming the columns, or with the columns that `header` names and no such line.

    Raises DatasetError where the file is missing or not such text, or a line has more or fewer values than columns.
    """
    if not path.is_file():
        raise DatasetError(f"there is no file {path}", "check the path and the name of the file")
    if len(separator) > 1:
        return _split(path, separator, header or (), encoding)
    parse = pa_csv.ParseOptions(
        delimiter=separator, quote_char='"' if separator == "," else False, newlines_in_values=separator == ","
    )
    names = list(header) if header is not None else None
    reading = pa_csv.ReadOptions(column_names=names, encoding=encoding)
    try:
        with open(path, "rb") as file:
            begin = file.read(3)
        if not begin:
            raise DatasetError(f"{path} is empty", "its first line names the columns")
        known = names if names is not None else _header(path, separator, encoding)
        types = pa_csv.ConvertOptions(column_types=dict.fromkeys(known, pa.string()), strings_can_be_null=False)
        table = pa_csv.read_csv(path, read_options=reading, parse_options=parse, convert_options=types)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} cannot be read as a table separated by {separator!r}: {error}",
            f"every line must have as many values as there are columns, in {encoding}",
        ) from None
    columns = {name: np.asarray(table[name].to_pylist(), dtype=object) for name in table.column_names}
    return Table(path, columns, 1 if header is not None else 2)


def _header(path: Path, separator: str, encoding: str) -> list[str]:
    with open(path, encoding="utf-8-sig" if encoding == "utf-8" else encoding) as file:
        return [name.strip('"') for name in file.readline().rstrip("\r\n").split(separator)]


def _split(path: Path, separator: str, header: Sequence[str], encoding: str) -> Table:
    """A table whose separator has several letters, such as MovieLens's `::`, without a header."""
    rows = []
    with open(path, encoding=encoding) as file:
        for number, line in enumerate(file, start=1):
            values = line.rstrip("\r\n").split(separator)
            if len(values) != len(header):
                raise DatasetError(
                    f"{path}, line {number}: {len(values)} values for {len(header)} columns ({', '.join(header)})",
                    f"values are separated by {separator!r}",
                )
            rows.append(values)
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    return Table(path, {name: _objects(values) for name, values in zip(header, columns, strict=True)}, 1)


def _objects(values: Iterable[str]) -> Column:
    return np.asarray(list(values), dtype=object)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
