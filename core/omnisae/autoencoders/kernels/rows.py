"""Rows of the decoder kept at norm one: in one pass over memory each on the CPU."""

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from omnisae.autoencoders.kernels import device
from omnisae.autoencoders.kernels.loops import FAST, array, fits, threads

SHORTEST = 1e-12
"""Rows shorter than this are divided by it instead of by their norm."""


def remove_parallel(gradient: Float[Tensor, "latent width"], rows: Float[Tensor, "latent width"]) -> None:
    """Take from each row of the gradient its part along the row, in place."""
    if device.takes(gradient, rows) and gradient.is_contiguous() and rows.is_contiguous():
        from omnisae.autoencoders.kernels.triton import rows as triton_rows

        triton_rows.remove_parallel(gradient, rows)
        return
    if fits(gradient, rows) and gradient.is_contiguous() and rows.is_contiguous():
        threads()
        _remove_parallel(array(gradient), array(rows))
        return
    unit = torch.nn.functional.normalize(rows.detach(), dim=1)
    gradient -= (gradient * unit).sum(1, keepdim=True) * unit


@torch.no_grad()
def to_unit(rows: Float[Tensor, "latent width"]) -> None:
    """Scale each row to norm one, in place."""
    if device.takes(rows) and rows.is_contiguous():
        from omnisae.autoencoders.kernels.triton import rows as triton_rows

        triton_rows.to_unit(rows, SHORTEST)
        return
    if fits(rows) and rows.is_contiguous():
        threads()
        _to_unit(array(rows), SHORTEST)
        return
    rows.copy_(torch.nn.functional.normalize(rows, dim=1, eps=SHORTEST))


@njit(parallel=True, cache=True, fastmath=FAST, nogil=True)
def _remove_parallel(gradient: Float[np.ndarray, "latent width"], rows: Float[np.ndarray, "latent width"]) -> None:
    """Take from each row of the gradient its part along the unit row, in place."""
    for r in prange(rows.shape[0]):
        along, square = rows.dtype.type(0), rows.dtype.type(0)
        for j in range(rows.shape[1]):
            along += gradient[r, j] * rows[r, j]
            square += rows[r, j] * rows[r, j]
        if square > 0 and along != 0:
            along /= square
            for j in range(rows.shape[1]):
                gradient[r, j] -= along * rows[r, j]


@njit(parallel=True, cache=True, fastmath=FAST, nogil=True)
def _to_unit(rows: Float[np.ndarray, "latent width"], floor: float) -> None:
    """Scale each row to norm one, in place; rows shorter than `floor` are divided by `floor`."""
    for r in prange(rows.shape[0]):
        square = rows.dtype.type(0)
        for j in range(rows.shape[1]):
            square += rows[r, j] * rows[r, j]
        by = rows.dtype.type(1) / max(np.sqrt(square), rows.dtype.type(floor))
        for j in range(rows.shape[1]):
            rows[r, j] *= by
