"""Features: intervals of residues with a name, out of UniProt's text of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from omnisae_protein.vocabulary import ENDS

_ITEM = re.compile(r'(?P<key>[A-Z][A-Z_]{2,})\s+(?P<where>[^;/]+)(?P<rest>(?:;\s*/\w+=(?:"(?:[^"]|"")*"|[^;]*))*)')
_QUALIFIER = re.compile(r'/(\w+)=(?:"((?:[^"]|"")*)"|([^;]*))')
_PLACE = re.compile(r"(?:(?P<isoform>[A-Z0-9]+-\d+):)?(?P<first>[<?]?\d*)(?:(?:\.\.|\^)(?P<last>[>?]?\d*))?")


@dataclass(frozen=True, slots=True)
class Feature:
    """Residues `start` ≤ i < `stop`, counted from 0. `concept` is set where a file names it outright."""

    key: str
    start: int
    stop: int
    note: str = ""
    ligand: str = ""
    concept: str = ""

    def spans(self) -> tuple[tuple[int, int], ...]:
        """The runs of residues meant: of a bond, its two ends."""
        if self.key in ENDS and self.stop - self.start > 1:
            return (self.start, self.start + 1), (self.stop - 1, self.stop)
        return ((self.start, self.stop),)


@dataclass(frozen=True, slots=True)
class Place:
    """A position as UniProt writes it: residues from 0, or why it tells none (`isoform`, `unknown`)."""

    start: int
    stop: int
    missing: str = ""


def place(text: str, canonical: str = "") -> Place:
    """`12..34`, `12`, `<1..20`, `?..30`, `P12345-2:5..9` (isoform 1 is the canonical sequence unless told otherwise).

    Raises ValueError where it is none of these.
    """
    found = _PLACE.fullmatch(text.strip())
    if not found or not found["first"]:
        raise ValueError(f"{text.strip()!r} is no position")
    isoform = found["isoform"] or ""
    if isoform and isoform != canonical and not isoform.endswith("-1"):
        return Place(0, 0, "isoform")
    first, last = found["first"].lstrip("<"), (found["last"] or found["first"]).lstrip("<>")
    if "?" in first + last or not last:
        return Place(0, 0, "unknown")
    if int(first) < 1 or int(last) < int(first):
        raise ValueError(f"{text.strip()!r}: positions count from 1, the first before the last")
    return Place(int(first) - 1, int(last))


def items(text: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Key, position and qualifiers of every feature in a cell of UniProt's table."""
    for found in _ITEM.finditer(text):
        told = {name: (quoted or plain).replace('""', '"') for name, quoted, plain in _QUALIFIER.findall(found["rest"])}
        yield found["key"], found["where"].strip(), told
