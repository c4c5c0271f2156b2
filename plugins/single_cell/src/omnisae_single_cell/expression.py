"""Tables of expression: logarithms of normalised counts, and tables read a block of rows at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

TARGET = 10_000.0
"""Counts that every cell is brought to before the logarithm."""
BLOCK = 4096
"""Cells of a table that are in memory at a time."""


def log_normalised(counts: Any) -> Any:
    """log(1 + 10,000 · count / the cell's total) of a table in memory, dense or sparse (scanpy's `normalize_total` and
    `log1p`), fp32, as CSR where it was sparse. A cell without counts stays zero."""
    if sp.issparse(counts):
        out = sp.csr_matrix(counts, dtype=np.float32, copy=True)
        total = np.asarray(out.sum(axis=1), dtype=np.float64).ravel()
        out.data = np.log1p(out.data * np.repeat(_scale(total), np.diff(out.indptr))).astype(np.float32)
        return out
    dense = np.asarray(counts, dtype=np.float64)
    return np.log1p(dense * _scale(dense.sum(axis=1))[:, None]).astype(np.float32)


class LogTable:
    """`log_normalised` of a table on disk: rows are read and brought to the logarithm when asked for."""

    def __init__(self, counts: Any) -> None:
        self.counts = counts
        self.shape = tuple(counts.shape)

    def __getitem__(self, rows: Any) -> Any:
        return log_normalised(take(self.counts, np.asarray(rows)))


def take(table: Any, rows: Int[np.ndarray, " row"]) -> Any:
    """Rows of a table in any order, dense or CSR."""
    if isinstance(table, np.ndarray) or sp.issparse(table):
        return table[rows]
    # Tables on disk take ascending rows without repeats.
    ascending, back = np.unique(rows, return_inverse=True)
    found = table[ascending]
    return found if len(ascending) == len(rows) and (back == np.arange(len(rows))).all() else found[back]


def blocks(
    table: Any, rows: Int[np.ndarray, " row"], size: int = BLOCK
) -> Iterator[tuple[slice, Float[np.ndarray, "row gene"] | sp.csr_matrix]]:
    """The chosen rows, some at a time: where they stand among `rows`, and their values, fp64, as CSR or dense."""
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        found = take(table, rows[part])
        yield part, sp.csr_matrix(found, dtype=np.float64) if sp.issparse(found) else np.asarray(found, np.float64)


def _scale(total: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " cell"]:
    return np.where(total > 0, TARGET / np.where(total > 0, total, 1.0), 0.0)
