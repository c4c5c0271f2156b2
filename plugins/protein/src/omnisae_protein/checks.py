"""What is refused of a file of proteins, before any of them is run: empty and duplicate records, strange letters."""

import re
from collections.abc import Sequence
from dataclasses import replace

from omnisae.errors import DatasetError
from omnisae_protein.plugin import ProteinsConfig
from omnisae_protein.records import Record

STANDARD = frozenset("ACDEFGHIKLMNPQRSTVWY")
LETTERS = re.compile(r"[A-Z]+")
FEWEST = 2


def strange(sequence: str) -> list[str]:
    """The non-standard letters of a sequence, each once."""
    return sorted(set(sequence) - STANDARD)


def checked(records: Sequence[Record], config: ProteinsConfig) -> tuple[list[Record], list[str]]:
    """The records in capitals without gaps and final stops, as the config's policies leave them, and notes.

    Raises DatasetError, naming file and line, where a record is empty, holds what is no residue, or stands twice.
    """
    if not records:
        raise DatasetError(f"dataset.sequences: {config.sequences} holds no record", "is it the right file?")
    found: list[Record] = []
    notes: list[str] = []
    lines: dict[str, str] = {}
    homes: dict[str, str] = {}
    doubles = 0
    for one in (_plain(record) for record in records):
        if one.id in lines:
            raise DatasetError(
                f"{one.where}: the id {one.id!r} stands there for the second time; first in {lines[one.id]}",
                "give every protein an id of its own",
            )
        lines[one.id] = one.where
        other = homes.setdefault(one.sequence, one.id)
        if other != one.id and config.duplicates != "keep":
            if config.duplicates == "refuse":
                raise DatasetError(
                    f"{one.where}: {one.id!r} has the very sequence of {other!r}: on two sides of a split they "
                    "would leak",
                    "leave one of them out, or set dataset.duplicates: first",
                )
            doubles += 1
            continue
        found.append(_policed(one, config))
    if doubles:
        notes.append(f"{doubles} proteins repeat the sequence of another one, and are left out (duplicates: first)")
    odd = sum(bool(strange(one.sequence)) for one in found)
    if odd and config.nonstandard != "refuse":
        notes.append(f"{odd} proteins have non-standard residues ({config.nonstandard})")
    return found, notes


def _plain(record: Record) -> Record:
    sequence = record.sequence.strip().upper().removesuffix("*")
    if len(sequence) < FEWEST:
        raise DatasetError(
            f"{record.where}: {record.id!r} has {len(sequence)} residues; at least {FEWEST} are needed",
            "leave the record out, or fetch its sequence",
        )
    if not LETTERS.fullmatch(sequence):
        wrong = next(letter for letter in sequence if not LETTERS.fullmatch(letter))
        raise DatasetError(
            f"{record.where}: {record.id!r} holds {wrong!r} at residue {sequence.index(wrong) + 1}, which is none",
            "give unaligned sequences in one-letter code, without gaps",
        )
    return replace(record, sequence=sequence)


def _policed(record: Record, config: ProteinsConfig) -> Record:
    odd = strange(record.sequence)
    if odd and config.nonstandard == "refuse":
        raise DatasetError(
            f"{record.where}: {record.id!r} has non-standard residues: {', '.join(odd)}",
            "set dataset.nonstandard: keep, mask or skip, or leave the protein out",
        )
    if odd and config.nonstandard == "mask":
        return replace(record, sequence="".join(a if a in STANDARD else "X" for a in record.sequence))
    return record
