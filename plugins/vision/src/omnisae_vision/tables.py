"""Reading a table of labels: CSV or TSV with a column of ids; numbers, words and gaps told apart."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from omnisae.errors import DatasetError, did_you_mean

UNKNOWN = frozenset({"", "na", "nan", "n/a", "null", "none"})
TRUTH = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


@dataclass(frozen=True)
class Table:
    """Columns of text by name, all of one length; `lines` are the rows' lines in the file (`row` says that they are
    no lines but rows or samples, by number or name)."""

    path: Path | str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int | str]
    row: str = "line"

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """Where a row stands, in words."""
        return f"{self.path}, {self.row} {self.lines[row]}"

    def column(self, name: str) -> Sequence[str]:
        """A column. Raises DatasetError where there is none of this name."""
        if name not in self.columns:
            raise DatasetError(f"{self.path} has no column {name!r}", did_you_mean(name, self.columns))
        return self.columns[name]

    def numbers(self, name: str) -> Float[np.ndarray, " row"] | None:
        """A column as numbers, NaN where it is unknown; None where it holds words."""
        found = [_number(text) for text in self.column(name)]
        return None if None in found else np.array(found, dtype=np.float64)


def read(path: Path) -> Table:
    """A table with a header. Raises DatasetError where it is missing, empty or ragged."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            header = [name.strip() for name in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"the table {path} cannot be read: {error}", "give a CSV or TSV file in UTF-8") from error
    if not header or not rows:
        raise DatasetError(f"the table {path} holds no rows below a header", "its first line names the columns")
    if len(set(header)) < len(header):
        raise DatasetError(f"the table {path} repeats a column's name: {header}", "give every column a name of its own")
    for line, row in rows:
        if len(row) != len(header):
            raise DatasetError(f"{path}, line {line}: {len(row)} values for {len(header)} columns", "mend the line")
    columns = {name: [row[i].strip() for _, row in rows] for i, name in enumerate(header)}
    return Table(path, columns, [line for line, _ in rows])


def text(value: object) -> str | None:
    """A value of another format as a table would write it, empty for unknown; None where it is no single value."""
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, str | int | float | np.integer | np.floating):
        return str(value)
    return None


def _number(text: str) -> float | None:
    small = text.lower()
    if small in UNKNOWN:
        return float("nan")
    if small in TRUTH:
        return TRUTH[small]
    try:
        return float(text)
    except ValueError:
        return None
