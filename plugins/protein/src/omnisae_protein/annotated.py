"""Joining features to proteins: by accession, within the sequence, of the canonical isoform."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from omnisae.errors import DatasetError
from omnisae_protein import files, flat, gff, tables
from omnisae_protein.features import Feature, place
from omnisae_protein.vocabulary import KEYS, TITLES, concept

Told = tuple[str, str, list[tuple[str, str, dict[str, str]]]]
"""Entry, where it stands, and key, position and qualifiers of its features."""


@dataclass
class Joined:
    """Features of every protein by id; an id that no file names is not annotated. `lost` counts what was left out."""

    features: dict[str, list[Feature]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    strangers: int = 0


def join(paths: Sequence[Path], lengths: Mapping[str, int], bounds: Literal["refuse", "drop"]) -> Joined:
    """The features that files tell of. Raises DatasetError where a position is malformed or (bounds: refuse) lies
    beyond the sequence, or where no entry joins."""
    joined = Joined()
    for path in paths:
        entries = 0
        for entry, where, told in _told(path):
            entries += 1
            if entry not in lengths:
                joined.strangers += 1
                continue
            mine = joined.features.setdefault(entry, [])
            for key, position, about in told:
                feature = _feature(key, position, about, entry, lengths[entry], where, bounds, joined.lost)
                if feature is not None and feature not in mine:
                    mine.append(feature)
        if not entries:
            raise DatasetError(f"{path} tells of no protein", "is it a UniProt table, flat text or GFF?")
    if paths and not joined.features:
        raise DatasetError(
            f"{', '.join(path.name for path in paths)}: none of the entries is one of the {len(lengths)} proteins "
            f"(e.g. {next(iter(lengths))!r})",
            "give annotations of these proteins; they are joined by accession",
        )
    return joined


def _told(path: Path) -> Iterator[Told]:
    kind = files.ending(path)
    if kind in (".tsv", ".tab"):
        yield from tables.features(path)
    elif kind in (".gff", ".gff3"):
        yield from gff.features(path)
    elif kind in (".txt", ".dat"):
        yield from ((one.id, f"{path}, entry {one.id}", one.features) for one in flat.entries(path))
    else:
        raise DatasetError(
            f"dataset.annotations: {path.name} is no kind of file that is read",
            "give a UniProt table (.tsv), flat text (.txt, .dat) or GFF (.gff, .gff3), or any .gz",
        )


def _feature(
    key: str,
    position: str,
    about: Mapping[str, str],
    entry: str,
    length: int,
    where: str,
    bounds: Literal["refuse", "drop"],
    lost: Counter[str],
) -> Feature | None:
    key = key if key in TITLES else KEYS.get(key.lower(), "")
    if not key:
        return None
    try:
        found = place(position, entry)
    except ValueError as error:
        raise DatasetError(f"{where}: {key}: {error}", "write positions as UniProt does: 12..34") from error
    if found.missing == "isoform":
        lost["lie on another isoform"] += 1
        return None
    if found.missing:
        lost["have an unknown end"] += 1
        return None
    if found.stop > length:
        if bounds == "refuse":
            raise DatasetError(
                f"{where}: {key} {position} reaches beyond {entry!r}, which has {length} residues",
                "give sequences and annotations of one release, or set dataset.bounds: drop",
            )
        lost["reach beyond the sequence"] += 1
        return None
    note, ligand = about.get("note", ""), about.get("ligand", "")
    return Feature(key, found.start, found.stop, note, ligand, concept(key, note, ligand))
