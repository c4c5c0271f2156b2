"""Assays in ProteinGym's form: mutants, their sequences, their scores."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from omnisae.errors import DatasetError, did_you_mean
from omnisae_protein import files, place

SEQUENCE, SCORE = "mutated_sequence", "DMS_score"


@dataclass(frozen=True)
class Assay:
    """Sequences of variants with what was measured of each."""

    path: Path
    sequences: list[str]
    scores: Float[np.ndarray, " variant"]


def locate(address: str) -> Path:
    """The file that an address names: a path, or one of a world (`world:motifs/assay.csv`)."""
    if not address.startswith(place.SCHEME):
        return Path(address).expanduser()
    world, _, name = address.partition("/")
    return place.folder(world) / name


def read(address: str) -> Assay:
    """The variants of an assay. Raises DatasetError, with the row, where a column is missing or a score is none."""
    path = locate(address)
    sequences, scores = [], []
    with files.opened(path, "score.studies: protein.fitness.assay") as text:
        reader = csv.DictReader(text)
        for name in (SEQUENCE, SCORE):
            if name not in (reader.fieldnames or ()):
                raise DatasetError(f"{path} has no column {name!r}", did_you_mean(name, reader.fieldnames or ()))
        for number, row in enumerate(reader, 2):
            try:
                scores.append(float(row[SCORE]))
            except (TypeError, ValueError):
                raise DatasetError(
                    f"{path}, row {number}: {SCORE} is {row[SCORE]!r}; a number is needed", "mend or remove the row"
                ) from None
            sequences.append((row[SEQUENCE] or "").strip().upper())
            if not sequences[-1].isalpha():
                raise DatasetError(f"{path}, row {number}: {SEQUENCE} holds no sequence", "mend or remove the row")
    if not np.isfinite(scores).all():
        raise DatasetError(f"{path}: a {SCORE} is NaN or infinite", "remove these rows")
    return Assay(path, sequences, np.array(scores))
