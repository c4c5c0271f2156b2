"""GFF3 as UniProt writes it: features by entry."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from omnisae.errors import DatasetError
from omnisae_protein import files
from omnisae_protein.vocabulary import KEYS


def features(path: Path) -> Iterator[tuple[str, str, list[tuple[str, str, dict[str, str]]]]]:
    """Entry, where it stands, and key, position and qualifiers of its features; entries without any that a
    `##sequence-region` names are told, too. Features of an isoform (`P12345-2`) are told under the entry, with the
    isoform in the position. Raises DatasetError where a line has no nine columns.
    """
    found: dict[str, list[tuple[str, str, dict[str, str]]]] = {}
    where: dict[str, str] = {}
    with files.opened(path, "dataset.annotations") as text:
        for number, line in enumerate(text, 1):
            if line.startswith("##sequence-region"):
                found.setdefault(line.split()[1], [])
                continue
            if line.startswith("#") or not line.strip():
                continue
            cells = line.rstrip("\n").split("\t")
            if len(cells) < 9:
                raise DatasetError(
                    f"{path}, line {number} has {len(cells)} columns; GFF has nine", "separate columns by tabs"
                )
            entry, kind, first, last = cells[0], cells[2], cells[3], cells[4]
            key = KEYS.get(kind.lower())
            if key is None:
                continue
            told = {
                name.strip().lower(): unquote(value)
                for name, _, value in (part.partition("=") for part in cells[8].split(";"))
                if value
            }
            base, _, isoform = entry.partition("-")
            place = f"{entry}:{first}..{last}" if isoform.isdecimal() and isoform != "1" else f"{first}..{last}"
            entry = base if isoform.isdecimal() else entry
            where.setdefault(entry, f"{path}, line {number}")
            found.setdefault(entry, []).append((key, place, told))
    for entry, told_features in found.items():
        yield entry, where.get(entry, str(path)), told_features
