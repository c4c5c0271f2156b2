"""UniProt's flat text (.txt, .dat): accession, features and sequence of every entry."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from omnisae.errors import DatasetError
from omnisae_protein import files

_QUALIFIER = re.compile(r'/(\w+)=(?:"((?:[^"]|"")*)"|(\S+))')


@dataclass
class Entry:
    """One entry: its first accession, its sequence, and key, position and qualifiers of its features."""

    id: str = ""
    sequence: str = ""
    features: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


def entries(path: Path) -> Iterator[Entry]:
    """All entries. Raises DatasetError where one has no accession or is cut off."""
    with files.opened(path, "dataset") as text:
        entry, raw, within = Entry(), [], False
        for number, line in enumerate(text, 1):
            code, rest = line[:2], line[5:].rstrip("\n")
            if code == "AC" and not entry.id:
                entry.id = rest.split(";")[0].strip()
            elif code == "FT":
                if rest[:1].strip():
                    raw.append(rest)
                elif raw:
                    raw[-1] += " " + rest.strip()
            elif code == "SQ":
                within = True
            elif code == "//":
                if not entry.id:
                    raise DatasetError(
                        f"{path}, line {number}: an entry ends that had no AC line", "is it UniProt text?"
                    )
                entry.features = [_feature(one) for one in raw]
                yield entry
                entry, raw, within = Entry(), [], False
            elif within:
                entry.sequence += "".join(line.split())
        if entry.id or raw:
            raise DatasetError(f"{path}: the last entry, {entry.id!r}, has no end (//)", "fetch the file again")


def _feature(text: str) -> tuple[str, str, dict[str, str]]:
    head, _, rest = text.partition("/")
    key, _, where = head.strip().partition(" ")
    told = {name: (quoted or plain).replace('""', '"') for name, quoted, plain in _QUALIFIER.findall("/" + rest)}
    return key, where.strip(), told
