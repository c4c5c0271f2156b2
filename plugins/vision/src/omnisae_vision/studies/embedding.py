"""Vectors of pictures by another model: read from a table, or made once and kept beside the run's findings."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.atomic import replacing
from omnisae.concepts.join import join_ids
from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.extractor import Extractor
from omnisae.extract.loading import batches
from omnisae.extract.split import SELECT, TEST
from omnisae.extract.table_dataset import read_table
from omnisae.hooks.point import HookPoint
from omnisae.studies.study import Material
from omnisae.tokens.filter import TokenFilter
from omnisae_vision.plugin_studies import EmbeddingConfig

FOLDER = "embeddings"


def embed(config: EmbeddingConfig, material: Material) -> Float[np.ndarray, "example d"]:
    """A vector of unit norm for every picture of SELECT and TEST, in the dataset's order; NaN for those that have none.

    Raises DatasetError where a table does not fit the dataset, ConfigError where the model gives no vectors.
    """
    found = _from_table(config, material) if config.model is None else _from_model(config, material)
    norm = np.linalg.norm(found, axis=1, keepdims=True)
    return found / np.where(norm > 0, norm, np.nan)


def kept(material: Material, key: dict[str, Any], make: Callable[[], np.ndarray]) -> np.ndarray:
    """What `make` gives, kept under a hash of its key, so that scoring again does not run the model again."""
    text = json.dumps([key, material.dataset.fingerprint(), len(material.dataset)], sort_keys=True, default=str)
    file = material.folder / FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npy"
    if not file.exists():
        values = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary, open(temporary, "wb") as opened:
            np.save(opened, values)
    return np.asarray(np.load(file, allow_pickle=False))


def _from_table(config: EmbeddingConfig, material: Material) -> Float[np.ndarray, "example d"]:
    path = Path(str(config.path))
    is_parquet = path.suffix in (".parquet", ".pq")
    table = read_table(path, ids=config.ids, id_column=config.id if is_parquet else None)
    matrix = np.asarray(table.matrix, dtype=np.float64)
    if not is_parquet and config.ids is None:
        if len(matrix) != len(material.dataset):
            raise DatasetError(
                f"{path} has {len(matrix)} rows for {len(material.dataset)} pictures",
                "give a row a picture, in the dataset's order, or name a file of `ids`",
            )
        return matrix
    index = join_ids(list(material.dataset.ids), list(table.ids), str(path.name)).index
    return np.where(index[:, None] >= 0, matrix[index], np.nan)


def _from_model(config: EmbeddingConfig, material: Material) -> Float[np.ndarray, "example d"]:
    if config.model is None:
        raise ConfigError("no model is given", "name one under `embedding.model`")
    extractor = config.model.build(material.dataset)
    key = {"embedding": config.model_dump(mode="json"), "model": extractor.fingerprint()}
    return kept(material, key, lambda: _run(config, extractor, material))


def _run(config: EmbeddingConfig, extractor: Extractor, material: Material) -> Float[np.ndarray, "example d"]:
    """The model over the held-out pictures. Unreadable ones have no vector."""
    point = _point(config, extractor)
    rows = np.sort(np.concatenate([material.rows(SELECT), material.rows(TEST)]))
    out: np.ndarray | None = None
    for some, inputs in batches(material.dataset, extractor, rows.tolist()):
        found = _answers(extractor, inputs) if point is None else _tokens(extractor, some, inputs, point)
        if out is None:
            out = np.full((len(material.dataset), found.shape[1]), np.nan, dtype=np.float32)
        out[list(some)] = found.float().cpu().numpy()
    if out is None:
        raise DatasetError("none of the held-out pictures could be read", "mend the dataset's files")
    return out


def _point(config: EmbeddingConfig, extractor: Extractor) -> HookPoint | None:
    if config.hook is None:
        return None
    found = extractor.resolve([config.hook])
    if len(found) != 1:
        raise ConfigError(
            f"embedding.hook matches {len(found)} hook points: {', '.join(point.name for point in found)}", "name one"
        )
    return found[0]


def _answers(extractor: Extractor, inputs: Any) -> Float[Tensor, "row d"]:
    answers = getattr(extractor, "answers", None)
    found = answers(inputs) if answers is not None else None
    if found is None:
        raise ConfigError(
            "the embedding's model has no answer of its own", "say under `embedding.hook` where to read it"
        )
    return torch.as_tensor(found)


def _tokens(extractor: Extractor, rows: Any, inputs: Any, point: HookPoint) -> Float[Tensor, "row d"]:
    """The mean over each picture's content tokens; of its special tokens, where it has no other."""
    batch = extractor.extract(rows, inputs, [point]).tokens[point.name]
    content = TokenFilter().keep(batch.example, batch.coords, batch.role, point.roles)
    batch = batch.take(content) if bool(content.any()) else batch
    place = {row: at for at, row in enumerate(rows)}
    at = torch.tensor([place[int(row)] for row in batch.example])
    sums = torch.zeros(len(rows), batch.values.shape[1], dtype=torch.float64)
    sums.index_add_(0, at, batch.values.double())
    return sums / torch.bincount(at, minlength=len(rows)).clamp(min=1)[:, None]


def with_vectors(rows: Int[np.ndarray, " row"], vectors: Float[np.ndarray, "example d"]) -> Int[np.ndarray, " row"]:
    """The rows that have a vector. Raises DatasetError where fewer than three have."""
    found = rows[~np.isnan(vectors[rows]).any(axis=1)]
    if len(found) < 3:
        raise DatasetError(
            f"{len(found)} of {len(rows)} test pictures have a vector; three are needed",
            "check the ids of the embedding",
        )
    return np.asarray(found)
