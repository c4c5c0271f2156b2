"""The parts of an h5ad file or a Zarr folder: whole in memory, or with its large tables left on disk."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

from omnisae.errors import DatasetError


@dataclass(frozen=True)
class CellFile:
    """What a file holds. Tables are dense, sparse, or on disk; all take a sorted list of rows and have a shape
    (cell, column)."""

    obs: pd.DataFrame
    var: pd.DataFrame
    x: Any
    layers: Mapping[str, Any] = field(default_factory=dict)
    obsm: Mapping[str, Any] = field(default_factory=dict)
    raw: Any = None
    raw_var: pd.DataFrame | None = None


def read(path: Path, backed: bool) -> CellFile:
    """Read an .h5ad file or a .zarr folder. With `backed` X, raw and layers stay on disk.

    Raises DatasetError where there is none or it cannot be read.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist", "name an .h5ad file or a .zarr folder (dataset.path)")
    kind = "Zarr" if path.suffix == ".zarr" else "h5ad"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # anndata on the layout of files older than itself
            warnings.simplefilter("ignore", UserWarning)
            found = _on_disk(path, kind) if backed else _in_memory(path, kind)
    except Exception as error:
        check = "anndata.read_zarr" if kind == "Zarr" else "anndata.read_h5ad"
        raise DatasetError(f"{path} cannot be read as {kind}: {error}", f"check the file with {check}") from error
    if found.x is None:
        raise DatasetError(f"{path} holds no X", "save the cells with their counts or expression in X")
    return found


def _in_memory(path: Path, kind: str) -> CellFile:
    data = anndata.read_zarr(path) if kind == "Zarr" else anndata.read_h5ad(path)
    raw = data.raw
    return CellFile(
        data.obs, data.var, data.X, dict(data.layers), _matrices(data.obsm), None if raw is None else raw.X,
        None if raw is None else raw.var,
    )  # fmt: skip


def _on_disk(path: Path, kind: str) -> CellFile:
    """obs, var and obsm are read; the tables of expression are handles on the open file."""
    group = _open(path, kind)
    elem = anndata.io.read_elem
    raw = group.get("raw")
    return CellFile(
        elem(group["obs"]),
        elem(group["var"]),
        _table(group["X"]),
        {name: _table(group["layers"][name]) for name in group["layers"]} if "layers" in group else {},
        _matrices(elem(group["obsm"])) if "obsm" in group else {},
        None if raw is None else _table(raw["X"]),
        None if raw is None else elem(raw["var"]),
    )


def _open(path: Path, kind: str) -> Any:
    if kind == "Zarr":
        import zarr

        return zarr.open_group(path, mode="r")
    import h5py

    return h5py.File(path, "r")


def _table(node: Any) -> Any:
    """A sparse table on disk as anndata reads it row by row, or the dense array itself."""
    if "encoding-type" in node.attrs and str(node.attrs["encoding-type"]).startswith("cs"):
        return anndata.io.sparse_dataset(node)
    if hasattr(node, "keys"):
        raise ValueError("a table of an older layout cannot be left on disk; write the file again with anndata")
    return _Rows(node) if hasattr(node, "oindex") else node


class _Rows:
    """A dense Zarr array, whose rows are picked as those of other tables are."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape = array, tuple(array.shape)

    def __getitem__(self, rows: Any) -> Any:
        return self.array.oindex[np.asarray(rows)]


def _matrices(obsm: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values for name, values in obsm.items() if np.ndim(values) == 2}
