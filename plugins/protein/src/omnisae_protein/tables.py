"""UniProt's tab-separated tables: rows by column, and the features in their cells."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from omnisae.errors import DatasetError, did_you_mean
from omnisae_protein import files
from omnisae_protein.features import items


def rows(path: Path, needed: Sequence[str] = ("Entry",)) -> Iterator[tuple[int, dict[str, str]]]:
    """Number (the heading's is 1) and cells of every row.

    UniProt quotes nothing; spreadsheets quote cells that hold quotes: both are read. Raises DatasetError where a column
    is missing or a row is of another length.
    """
    with files.opened(path, "dataset") as text:
        lines = iter(text)
        heading = next(lines, "").rstrip("\n").split("\t")
        for name in needed:
            if name not in heading:
                raise DatasetError(f"{path} has no column {name!r}", did_you_mean(name, heading))
        for number, line in enumerate(lines, 2):
            if not line.strip():
                continue
            cells = [_unquoted(cell) for cell in line.rstrip("\n").split("\t")]
            if len(cells) != len(heading):
                raise DatasetError(
                    f"{path}, row {number} has {len(cells)} cells and the heading {len(heading)}",
                    "is it tab-separated, and whole?",
                )
            yield number, dict(zip(heading, cells, strict=True))


def features(path: Path) -> Iterator[tuple[str, str, list[tuple[str, str, dict[str, str]]]]]:
    """Entry, where it stands, and key, position and qualifiers of its features."""
    for number, row in rows(path):
        found = [item for name, cell in row.items() if name not in ("Entry", "Sequence") for item in items(cell)]
        yield row["Entry"], f"{path}, row {number}", found


def columns(path: Path) -> list[str]:
    """The heading of a table."""
    with files.opened(path, "dataset") as text:
        return text.readline().rstrip("\n").split("\t")


def csv_columns(path: Path, field: str) -> tuple[list[str], list[dict[str, str]]]:
    """Heading and rows of a comma-separated table."""
    with files.opened(path, field) as text:
        reader = csv.DictReader(text)
        found = list(reader)
        return list(reader.fieldnames or ()), found


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '""' in cell:
        return cell[1:-1].replace('""', '"')
    return cell
