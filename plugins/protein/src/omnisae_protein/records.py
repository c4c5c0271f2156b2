"""Records: proteins out of FASTA, JSON-lines, UniProt's tables and flat text, each checked before anything is run."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnisae.errors import DatasetError
from omnisae_protein import files, flat, tables
from omnisae_protein.features import Feature

FASTA = (".fasta", ".fa", ".faa", ".fas")
ACCESSION = re.compile(r"(?:sp|tr)\|([A-Za-z0-9-]+)\|")


@dataclass(frozen=True)
class Record:
    """One protein as a file has it. `where` names file and line. `known` are the concepts that the record itself tells
    of, whether it has them or not; `unknown` are places of which nothing is known."""

    id: str
    sequence: str
    where: str
    about: dict[str, str] = field(default_factory=dict)
    features: tuple[Feature, ...] = ()
    known: frozenset[str] = frozenset()
    unknown: tuple[tuple[int, int], ...] = ()


def read(path: Path, letters: dict[str, dict[str, str]], unknown_letters: str) -> list[Record]:
    """All records of a file in order. Raises DatasetError where it is of another kind, or a record is broken."""
    kind = files.ending(path)
    if kind in FASTA:
        return list(_fasta(path))
    if kind in (".jsonl", ".ndjson"):
        return list(_lines(path, letters, unknown_letters))
    if kind in (".tsv", ".tab"):
        return [
            Record(row["Entry"], row.get("Sequence", ""), f"{path}, row {number}", row)
            for number, row in tables.rows(path, ("Entry", "Sequence"))
        ]
    if kind in (".txt", ".dat"):
        return [Record(one.id, one.sequence, f"{path}, entry {one.id}") for one in flat.entries(path)]
    raise DatasetError(
        f"dataset.sequences: {path.name} is no kind of file that is read",
        "give FASTA (.fasta, .fa, .faa), JSON-lines (.jsonl), a UniProt table (.tsv) or flat text (.txt), or any .gz",
    )


def _fasta(path: Path) -> Iterator[Record]:
    with files.opened(path, "dataset.sequences") as text:
        title, start = "", 0
        parts: list[str] = []
        for number, line in enumerate(text, 1):
            line = line.strip()
            if line.startswith(">"):
                if start:
                    yield _entry(path, title, start, parts)
                title, start, parts = line[1:], number, []
            elif line and not start:
                raise DatasetError(
                    f"{path}, line {number}: a sequence stands before the first '>' line", "is it a FASTA file?"
                )
            else:
                parts.append(line)
        if start:
            yield _entry(path, title, start, parts)


def _entry(path: Path, title: str, line: int, parts: Sequence[str]) -> Record:
    found = ACCESSION.match(title)
    words = title.split()
    if not words:
        raise DatasetError(f"{path}, line {line}: a record without a name", "write an id behind '>'")
    about = {"Protein names": " ".join(words[1:]).partition(" OS=")[0]}
    return Record(found[1] if found else words[0], "".join(parts), f"{path}, line {line}", about)


def _lines(path: Path, letters: dict[str, dict[str, str]], unknown_letters: str) -> Iterator[Record]:
    with files.opened(path, "dataset.sequences") as text:
        for number, line in enumerate(text, 1):
            if line.strip():
                where = f"{path}, line {number}"
                try:
                    entry = json.loads(line)
                    name, sequence = str(entry["id"]), entry.get("sequence", entry.get("seq"))
                except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
                    raise DatasetError(
                        f"{where}: no record ({type(error).__name__}: {error})",
                        'write one JSON object a line, with "id" and "sequence" (or "seq")',
                    ) from error
                yield _from_json(name, str(sequence or ""), where, entry, letters, unknown_letters)


def _from_json(
    name: str, sequence: str, where: str, entry: dict[str, Any], letters: dict[str, dict[str, str]], unknown: str
) -> Record:
    features: list[Feature] = []
    known: set[str] = set()
    gaps: list[tuple[int, int]] = []
    for kind, places in (entry.get("sites") or {}).items():
        concept = f"Binding site: {kind}"
        try:
            features += [Feature("BINDING", int(at) - 1, int(at), concept=concept) for at in places]
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"{where}: sites.{kind} holds no positions ({error})", "count residues from 1"
            ) from error
    if "sites" in entry:
        known.add("sites")
    for track, text in (entry.get("per_residue") or {}).items():
        if track not in letters:
            continue
        if len(text) != len(sequence):
            raise DatasetError(
                f"{where}: per_residue.{track} has {len(text)} letters and the sequence {len(sequence)} residues",
                "give one letter a residue",
            )
        known.add(track)
        for start, stop in runs(text):
            if text[start] in unknown:
                gaps.append((start, stop))
            elif text[start] in letters[track]:
                features.append(Feature("REGION", start, stop, concept=letters[track][text[start]]))
    about = {
        key: str(value) for key, value in entry.items() if isinstance(value, str) and key not in ("seq", "sequence")
    }
    return Record(name, sequence, where, about, tuple(features), frozenset(known), tuple(gaps))


def runs(text: str) -> Iterator[tuple[int, int]]:
    """Runs of one letter."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or text[at] != text[start]:
            yield start, at
            start = at
