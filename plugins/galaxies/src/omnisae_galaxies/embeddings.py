"""The extractor `galaxies.embeddings`: vectors that another program computed, row by row of the cut-outs."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.extractor import Extraction
from omnisae.extract.table import TableExtractor
from omnisae.extract.table_dataset import read_table
from omnisae.hooks.point import HookPoint
from omnisae_galaxies.join import join
from omnisae_galaxies.plugin import EmbeddingsConfig
from omnisae_vision.geometry import as_picture, pixels

Tables = Mapping[str, Float[np.ndarray, "example d"]]


class Embeddings(TableExtractor):
    """Tables by name, with the cut-outs' pictures for the report. Galaxies without a vector give no token."""

    def __init__(self, tables: Tables, known: Bool[np.ndarray, " example"], fingerprint: str) -> None:
        super().__init__(tables, fingerprint, batch_size=256)
        self._known = known

    def extract(self, rows: Sequence[int], inputs: Any, hooks: Sequence[HookPoint]) -> Extraction:
        found = super().extract(rows, inputs, hooks)
        has = torch.from_numpy(self._known[np.asarray(rows, dtype=np.int64)])
        return Extraction(found.rows, {name: batch.take(has) for name, batch in found.tokens.items()})

    def picture(self, example: Example) -> UInt8[np.ndarray, "y x 3"]:
        return pixels(as_picture(example.input))


def embeddings(config: EmbeddingsConfig, dataset: Dataset) -> Embeddings:
    """The extractor that a config names. Raises DatasetError where the table does not fit the dataset."""
    path = Path(config.table).expanduser()
    names, tables = _read(path, config)
    joined = join(list(dataset.ids), names, path.name, config.minus)
    for note in joined.notes:
        warnings.warn(note, stacklevel=3)
    placed = {
        name: np.where(joined.row[:, None] >= 0, values[joined.row], np.nan).astype(np.float32)
        for name, values in tables.items()
    }
    for name, values in placed.items():
        broken = np.flatnonzero((joined.row >= 0) & ~np.isfinite(values).all(axis=1))
        if len(broken):
            raise DatasetError(
                f"{path}: {name} of {dataset.ids[int(broken[0])]!r} is not finite ({len(broken)} vectors are not)",
                "compute these vectors again, or leave their rows out",
            )
    return Embeddings(placed, joined.row >= 0, _fingerprint(path, config, dataset))


def _read(path: Path, config: EmbeddingsConfig) -> tuple[list[str], Tables]:
    """Ids, and matrices by name."""
    if path.suffix == ".npy":
        if config.ids is None:
            raise DatasetError(
                f"extractor.table is {path}, which holds no ids to join by", "name a file of ids in extractor.ids"
            )
        table = read_table(path, ids=Path(config.ids).expanduser())
        return list(table.ids), {"vectors": np.asarray(table.matrix)}
    found: dict[str, np.ndarray] = {}
    names: list[str] = []
    for column in config.columns or _columns(path):
        table = read_table(path, id_column=config.id, vectors=column)
        names, found[column] = list(table.ids), np.asarray(table.matrix)
    return names, found


def _columns(path: Path) -> list[str]:
    """The columns of a parquet table that hold vectors."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        near = did_you_mean(path.name, (p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise DatasetError(f"extractor.table: there is no file {path}", near)
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetError(f"{path} cannot be read as parquet: {error}", "give .parquet, or .npy with ids") from error
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    found = [field.name for field in schema if any(is_kind(field.type) for is_kind in kinds)]
    if not found:
        raise DatasetError(f"{path} has no column of vectors", "give a column of lists of numbers, all of one length")
    return found


def _fingerprint(path: Path, config: EmbeddingsConfig, dataset: Dataset) -> str:
    digest = hashlib.sha256(f"{dataset.fingerprint()} {config.model_dump_json(exclude={'table', 'ids'})}".encode())
    for file in [path, *([Path(config.ids).expanduser()] if config.ids else [])]:
        about = file.stat()
        digest.update(f"\n{file.name} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()
