"""Sums of squares of a batch in fp64, in two passes over its memory (numba)."""

import numpy as np
from jaxtyping import Float, Float64
from numba import njit, prange

BLOCK = 256
"""Rows summed together: partial sums are added in the order of their blocks, whatever the threads do."""


def sums(
    x: Float[np.ndarray, "token width"], decoded: Float[np.ndarray, "token width"]
) -> tuple[Float64[np.ndarray, " width"], float, float]:
    """The mean of the rows, Σ‖x − mean‖² and Σ‖x − decoded‖²."""
    x, decoded = np.ascontiguousarray(x), np.ascontiguousarray(decoded)
    blocks = -(-len(x) // BLOCK)
    totals, squares = np.zeros((blocks, x.shape[1])), np.zeros((2, blocks))
    _totals(x, totals)
    mean: Float64[np.ndarray, " width"] = totals.sum(axis=0) / len(x)
    _squares(x, decoded, mean, squares)
    return mean, float(squares[0].sum()), float(squares[1].sum())


@njit(parallel=True, cache=True, nogil=True)
def _totals(x: np.ndarray, totals: np.ndarray) -> None:
    for block in prange(totals.shape[0]):
        for t in range(block * BLOCK, min(x.shape[0], (block + 1) * BLOCK)):
            for j in range(x.shape[1]):
                totals[block, j] += x[t, j]


@njit(parallel=True, cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _squares(x: np.ndarray, decoded: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
    for block in prange(squares.shape[1]):
        spread, error = 0.0, 0.0
        for t in range(block * BLOCK, min(x.shape[0], (block + 1) * BLOCK)):
            for j in range(x.shape[1]):
                value = np.float64(x[t, j])
                spread += (value - mean[j]) ** 2
                error += (value - np.float64(decoded[t, j])) ** 2
        squares[0, block], squares[1, block] = spread, error
