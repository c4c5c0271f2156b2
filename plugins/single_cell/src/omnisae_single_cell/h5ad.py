"""Cells of an h5ad file, read through anndata."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd

from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.dataset import Dataset, Example, FeatureTable
from omnisae.store.key import content_key

if TYPE_CHECKING:
    from omnisae.concepts.annotations import Annotations
    from omnisae_single_cell.plugin import H5adConfig

BUNDLED = {"pbmc68k_reduced": "10x_pbmc68k_reduced.h5ad"}
"""Files that scanpy ships inside its package: real cells without a network."""


class H5adDataset(Dataset):
    """One example a cell. Categories of `obs` columns are binary concepts named `column=category`, numeric columns are
    fractions brought to [0, 1] by their range; missing values are NaN and never count."""

    def __init__(self, config: "H5adConfig") -> None:
        self.config = config
        self.path = _locate(config.path)
        self.data = _read(self.path, config.backed)
        self._ids = [str(name) for name in self.data.obs_names]
        twice = pd.Index(self._ids).duplicated()
        if twice.any():
            raise DatasetError(
                f"{self.path}: {int(twice.sum())} cells share an obs name, e.g. {self._ids[int(np.argmax(twice))]!r}",
                "make them unique with adata.obs_names_make_unique() and save again",
            )
        for name in (*(config.concepts or ()), *config.exclude, *((config.group,) if config.group else ())):
            self.column(name)

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        return Example(row, self._ids[row], row)

    def fingerprint(self) -> str:
        return content_key([self._contents, self.config.model_dump(mode="json", exclude={"path", "backed"})])

    @cached_property
    def _contents(self) -> str:
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def column(self, name: str) -> "pd.Series[Any]":
        """A column of `obs`. Raises DatasetError where there is none of this name."""
        if name not in self.data.obs:
            raise DatasetError(f"{self.path}: obs has no column {name!r}", did_you_mean(name, self.data.obs.columns))
        return self.data.obs[name]

    @cached_property
    def concept_columns(self) -> list[str]:
        """The obs columns that are concepts."""
        if self.config.concepts is not None:
            return [name for name in self.config.concepts if name not in self.config.exclude]
        kept = [
            name for name in self.data.obs if _is_categorical(self.data.obs[name]) and name not in self.config.exclude
        ]
        return [name for name in kept if self.data.obs[name].nunique() < len(self._ids)]

    def annotations(self) -> "Annotations":
        from omnisae.concepts.annotations import Annotations

        labels: dict[str, np.ndarray] = {}
        for name in self.concept_columns:
            column = self.column(name)
            if _is_categorical(column):
                for category in sorted(column.dropna().astype(str).unique()):
                    value = (column.astype(str) == category).to_numpy(np.float32)
                    labels[f"{name}={category}"] = np.where(column.isna(), np.float32("nan"), value).astype(np.float32)
            else:
                labels[name] = _to_unit_range(column.to_numpy(np.float64), name, self.path)
        return Annotations(self._ids, labels)

    def groups(self, column: str) -> Sequence[str]:
        return [str(value) for value in self.column(column)]

    def group_columns(self) -> Sequence[str]:
        return [str(name) for name in self.data.obs.columns]

    def labels(self) -> Mapping[str, Sequence[str]]:
        categorical = [name for name in self.concept_columns if _is_categorical(self.column(name))]
        return {name: ["" if pd.isna(v) else str(v) for v in self.column(name)] for name in categorical}

    def embeddings(self) -> Mapping[str, np.ndarray]:
        return {
            name.removeprefix("X_"): np.asarray(self.data.obsm[name][:, :2], dtype=np.float32)
            for name in self.config.embeddings
            if name in self.data.obsm and self.data.obsm[name].shape[1] >= 2
        }

    def features(self) -> FeatureTable:
        return FeatureTable(self.gene_names(self.config.genes), self.table(self.config.genes), noun="gene")

    def gene_names(self, where: str) -> list[str]:
        """The names of the genes of a table."""
        var = self.data.raw.var if where == "raw" else self.data.var
        names = self.config.var_names
        if names is None:
            return [str(name) for name in var.index]
        if names not in var:
            raise DatasetError(f"{self.path}: var has no column {names!r}", did_you_mean(names, var.columns))
        return [str(name) for name in var[names]]

    def tables(self) -> list[str]:
        """The tables of vectors that this file holds."""
        raw = ["raw"] if self.data.raw is not None else []
        layers = [f"layers/{name}" for name in self.data.layers]
        dense = [f"obsm/{name}" for name in self.data.obsm if np.ndim(self.data.obsm[name]) == 2]
        return ["X", *raw, *layers, *dense]

    def table(self, where: str) -> Any:
        """A table of shape (cell, column): dense, sparse, or backed by the file."""
        if where not in self.tables():
            raise DatasetError(f"{self.path} has no table {where!r}", did_you_mean(where, self.tables()))
        kind, _, name = where.partition("/")
        if kind == "layers":
            return self.data.layers[name]
        if kind == "obsm":
            return np.asarray(self.data.obsm[name])
        return self.data.raw.X if kind == "raw" else self.data.X


def _locate(path: str) -> Path:
    if path.startswith("scanpy:"):
        name = path.removeprefix("scanpy:")
        if name not in BUNDLED:
            raise DatasetError(f"scanpy brings no file {name!r} along", did_you_mean(name, BUNDLED))
        spec = find_spec("scanpy")
        folders = list(spec.submodule_search_locations or ()) if spec else []
        if not folders:
            raise DatasetError("scanpy is not installed", "pip install scanpy")
        return Path(folders[0]) / "datasets" / BUNDLED[name]
    return Path(path).expanduser()


def _read(path: Path, backed: bool) -> anndata.AnnData:
    if not path.exists():
        raise DatasetError(f"{path} does not exist", "name an .h5ad file (dataset.path)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # anndata on the layout of files older than itself
            return anndata.read_h5ad(path, backed="r" if backed else None)
    except Exception as error:
        raise DatasetError(
            f"{path} cannot be read as h5ad: {error}", "check the file with anndata.read_h5ad"
        ) from error


def _is_categorical(column: "pd.Series[Any]") -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object or column.dtype == bool


def _to_unit_range(values: np.ndarray, name: str, path: Path) -> np.ndarray:
    """A numeric column by its range: ranks, and with them Spearman's correlation, stay the same."""
    low, high = np.nanmin(values), np.nanmax(values)
    if not np.isfinite(low) or low == high:
        raise DatasetError(
            f"{path}: obs column {name!r} is constant or empty and says nothing", "leave it out of `concepts`"
        )
    return ((values - low) / (high - low)).astype(np.float32)
