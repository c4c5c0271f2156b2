"""Rows in few bits, with how far each lies from the row in full: what a narrow product multiplies (numba)."""

import numpy as np
from jaxtyping import Float, Int8, UInt16
from numba import njit, prange

from omnisae.autoencoders.kernels.loops import FAST

LEVELS = 127
"""Largest magnitude of an 8-bit integer that both signs share."""


@njit(parallel=True, cache=True, fastmath=FAST, nogil=True)
def to_int8(
    rows: Float[np.ndarray, "row width"],
    shift: Float[np.ndarray, " width"],
    out: Int8[np.ndarray, "row width"],
    scale: Float[np.ndarray, " row"],
    norm: Float[np.ndarray, " row"],
    error: Float[np.ndarray, " row"],
    shifted: Float[np.ndarray, " row"],
) -> None:
    """Each row as integers times `scale`; its norm, the norm of what rounding took, and ⟨row, shift⟩."""
    for r in prange(rows.shape[0]):
        row = rows[r]
        peak, square, along = np.float32(0), np.float32(0), np.float32(0)
        for j in range(row.shape[0]):
            peak = max(peak, abs(row[j]))
            square += row[j] * row[j]
            along += row[j] * shift[j]
        step = peak / np.float32(LEVELS)
        up = np.float32(1) / step if step > 0 else np.float32(0)
        lost = np.float32(0)
        for j in range(row.shape[0]):
            whole = np.rint(row[j] * up)
            out[r, j] = np.int8(np.int32(whole))
            gone = row[j] - whole * step
            lost += gone * gone
        scale[r], norm[r], error[r], shifted[r] = step, np.sqrt(square), np.sqrt(lost), along


@njit(parallel=True, cache=True, fastmath=FAST, nogil=True)
def to_bf16(
    rows: Float[np.ndarray, "row width"],
    shift: Float[np.ndarray, " width"],
    out: UInt16[np.ndarray, "row width"],
    norm: Float[np.ndarray, " row"],
    error: Float[np.ndarray, " row"],
    shifted: Float[np.ndarray, " row"],
) -> None:
    """Each row as bf16's 16 bits, to nearest; its norm, the norm of what rounding took, and ⟨row, shift⟩."""
    width = rows.shape[1]
    for r in prange(rows.shape[0]):
        row = rows[r]
        bits = row.view(np.uint32)
        back = np.empty(width, np.uint32)
        for j in range(width):
            rounded = bits[j] + np.uint32(0x7FFF) + ((bits[j] >> np.uint32(16)) & np.uint32(1))
            out[r, j] = np.uint16(rounded >> np.uint32(16))
            back[j] = rounded & np.uint32(0xFFFF0000)
        wide = back.view(np.float32)
        square, lost, along = np.float32(0), np.float32(0), np.float32(0)
        for j in range(width):
            gone = row[j] - wide[j]
            square += row[j] * row[j]
            lost += gone * gone
            along += row[j] * shift[j]
        norm[r], error[r], shifted[r] = np.sqrt(square), np.sqrt(lost), along
