"""Cells of an h5ad file, read through anndata."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.dataset import Dataset, Example, FeatureTable
from omnisae.store.key import content_key, file_digest
from omnisae_single_cell.cell_file import read
from omnisae_single_cell.expression import LogTable, log_normalised, take
from omnisae_single_cell.world import locate

if TYPE_CHECKING:
    from omnisae.concepts.annotations import Annotations
    from omnisae_single_cell.plugin import H5adConfig

LOG = "log/"
"""What stands before a table of counts to ask for the logarithm of its normalised counts."""


class H5adDataset(Dataset):
    """One example a cell. Categories of `obs` columns are binary concepts named `column=category`, a column of True and
    False is one concept, numeric columns are fractions brought to [0, 1] by their range; missing values are NaN and
    never count."""

    def __init__(self, config: "H5adConfig") -> None:
        self.config = config
        self.path = locate(config.path, "cells.h5ad")
        self.data = read(self.path, config.backed)
        self._logs: dict[str, Any] = {}
        self._remarks: list[str] = []
        self._ids = [str(name) for name in self.data.obs.index]
        twice = pd.Index(self._ids).duplicated()
        if twice.any():
            raise DatasetError(
                f"{self.path}: {int(twice.sum())} cells share an obs name, e.g. {self._ids[int(np.argmax(twice))]!r}",
                "make them unique with adata.obs_names_make_unique() and save again",
            )
        for name in (*(config.concepts or ()), *config.exclude, *((config.group,) if config.group else ())):
            self.column(name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Handles on open files do not travel to other processes: there the file is opened anew."""
        return type(self), (self.config,)

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        return Example(row, self._ids[row], row)

    def fingerprint(self) -> str:
        return content_key([self._contents, self.config.model_dump(mode="json", exclude={"path", "backed"})])

    @cached_property
    def _contents(self) -> str:
        """A hash of what the file holds; of one that is left on disk, of its files' names, sizes and times."""
        if self.path.is_file() and not self.config.backed:
            return file_digest(self.path)
        files = [self.path] if self.path.is_file() else sorted(one for one in self.path.rglob("*") if one.is_file())
        digest = hashlib.sha256()
        for one in files:
            stat = one.stat()
            digest.update(f"{one.relative_to(self.path)} {stat.st_size} {stat.st_mtime_ns}".encode())
        return digest.hexdigest()

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
            if _is_bool(column):
                known = column.map(lambda one: np.nan if pd.isna(one) else float(one))
                labels[name] = known.to_numpy(np.float32)
            elif _is_categorical(column):
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

    def remark(self, note: str) -> None:
        """Something that a reader of the report should know, found while these cells were read for a model."""
        if note not in self._remarks:
            self._remarks.append(note)

    def notes(self) -> Sequence[str]:
        return tuple(self._remarks)

    def embeddings(self) -> Mapping[str, np.ndarray]:
        return {
            name.removeprefix("X_"): np.asarray(self.data.obsm[name][:, :2], dtype=np.float32)
            for name in self.config.embeddings
            if name in self.data.obsm and self.data.obsm[name].shape[1] >= 2
        }

    def features(self) -> FeatureTable:
        return FeatureTable(self.gene_names(self.config.genes), self.table(self.config.genes), noun="gene")

    def gene_names(self, where: str) -> list[str]:
        """The names of the genes of a table. Raises DatasetError where `var_names` is no column of `var`."""
        return self.var_column(self.config.var_names, where)

    def var_column(self, name: str | None, where: str = "X") -> list[str]:
        """A column of `var` (None: its index) as text. Raises DatasetError where there is none of this name."""
        var = self.data.raw_var if where.removeprefix(LOG) == "raw" else self.data.var
        if var is None:
            raise DatasetError(f"{self.path} has no table 'raw'", "name another table")
        if name is None:
            return [str(one) for one in var.index]
        if name not in var:
            raise DatasetError(f"{self.path}: var has no column {name!r}", did_you_mean(name, var.columns))
        return [str(one) for one in var[name]]

    def tables(self) -> list[str]:
        """The tables of vectors that this file holds, and the logarithms of its counts."""
        raw = ["raw"] if self.data.raw is not None else []
        counts = ["X", *raw, *(f"layers/{name}" for name in self.data.layers)]
        return [*counts, *(f"obsm/{name}" for name in self.data.obsm), *(LOG + name for name in counts)]

    def table(self, where: str) -> Any:
        """A table of shape (cell, column): dense, sparse, or on disk.

        `log/` before a table of counts gives the logarithm of its normalised counts. Raises DatasetError where there is
        none of this name, or a logarithm is asked of what are no counts.
        """
        if where not in self.tables():
            raise DatasetError(f"{self.path} has no table {where!r}", did_you_mean(where, self.tables()))
        if where.startswith(LOG):
            if where not in self._logs:
                counts = self.counts(where.removeprefix(LOG), "the logarithm of normalised counts")
                self._logs[where] = LogTable(counts) if self.config.backed else log_normalised(counts)
            return self._logs[where]
        kind, _, name = where.partition("/")
        if kind == "layers":
            return self.data.layers[name]
        if kind == "obsm":
            return np.asarray(self.data.obsm[name])
        return self.data.raw if kind == "raw" else self.data.x

    def counts(self, where: str, needed: str) -> Any:
        """A table of raw counts. Raises DatasetError where some of its first cells hold other numbers; `needed` is what
        needs counts."""
        table = self.table(where)
        sample = take(table, np.arange(min(200, table.shape[0])))
        sample = sample.data if sp.issparse(sample) else np.asarray(sample)
        if (sample < 0).any() or not np.allclose(sample, np.round(sample)):
            raise DatasetError(
                f"{self.path}: {where!r} does not hold raw counts "
                f"(values below 0 or with a fraction), which {needed} needs",
                f"name the table of raw counts; this file has {', '.join(t for t in self.tables() if _may_count(t))}",
            )
        return table


def _is_categorical(column: "pd.Series[Any]") -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object or _is_bool(column)


def _is_bool(column: "pd.Series[Any]") -> bool:
    return column.dtype == bool or isinstance(column.dtype, pd.BooleanDtype)


def _may_count(table: str) -> bool:
    return not table.startswith((LOG, "obsm/"))


def _to_unit_range(values: np.ndarray, name: str, path: Path) -> np.ndarray:
    """A numeric column by its range: ranks, and with them Spearman's correlation, stay the same."""
    low, high = np.nanmin(values), np.nanmax(values)
    if not np.isfinite(low) or low == high:
        raise DatasetError(
            f"{path}: obs column {name!r} is constant or empty and says nothing", "leave it out of `concepts`"
        )
    return ((values - low) / (high - low)).astype(np.float32)
