"""Cells as sequences of genes: by rank, as Geneformer reads them, or with bins of expression, as scGPT does."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from omnisae_single_cell.expression import TARGET


def present(row: Any) -> tuple[Int[np.ndarray, " gene"], Float[np.ndarray, " gene"]]:
    """The columns of one cell's counts that are not zero, ascending, and their counts."""
    if sp.issparse(row):
        found = sp.csr_matrix(row)
        found.sort_indices()
        kept = found.data > 0
        return found.indices[kept].astype(np.int64), found.data[kept].astype(np.float64)
    dense = np.asarray(row, dtype=np.float64).ravel()
    columns = np.flatnonzero(dense > 0)
    return columns, dense[columns]


def by_rank(
    columns: Int[np.ndarray, " gene"],
    counts: Float[np.ndarray, " gene"],
    total: float,
    median: Float[np.ndarray, " column"],
    length: int,
) -> Int[np.ndarray, " position"]:
    """The columns in descending order of count · 10,000 / total / the gene's median over a large corpus (Theodoris et
    al. 2023), the first `length` of them. Ties come in the order of the columns."""
    scaled = counts / total * TARGET / median[columns]
    return columns[np.argsort(-scaled, kind="stable")[:length]]


def by_bins(
    columns: Int[np.ndarray, " gene"], counts: Float[np.ndarray, " gene"], bins: int, length: int
) -> tuple[Int[np.ndarray, " position"], Int[np.ndarray, " position"]]:
    """The columns, the `length` most expressed of them in the order of the table, and the bin of each: 1 to `bins` − 1,
    by quantiles of the cell's own counts above zero (Cui et al. 2024; ties share the higher bin, where they draw it by
    chance). 0 stands for no expression."""
    edges = np.quantile(counts, np.linspace(0, 1, bins - 1)) if len(counts) else np.zeros(0)
    level = np.searchsorted(edges[1:-1], counts, side="right") + 1
    kept = np.sort(np.argsort(-counts, kind="stable")[:length])
    return columns[kept], level[kept].astype(np.int64)
