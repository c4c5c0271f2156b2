"""Turning codes round: from by-token rows on disk to by-latent posting lists, in memory of a fixed size."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64
from numba import njit

BLOCK = 1 << 24
"""Entries turned round at a time, about: 12 bytes each in memory, and a latent's run about a page of the file long."""


@njit(cache=True)
def scatter(
    latents: Int32[np.ndarray, " entry"],
    values: Float32[np.ndarray, " entry"],
    fired: Int32[np.ndarray, " token"],
    first: int,
    cursor: Int64[np.ndarray, " latent"],
    out_token: Int[np.ndarray, " all"],
    out_value: Float32[np.ndarray, " all"],
) -> None:
    """Put every entry at its latent's cursor, and move the cursor on: a counting sort, stable in the tokens."""
    entry = 0
    for token in range(fired.shape[0]):
        for _ in range(fired[token]):
            at = cursor[latents[entry]]
            out_token[at] = first + token
            out_value[at] = values[entry]
            cursor[latents[entry]] = at + 1
            entry += 1


def transpose(
    latents: Path,
    values: Path,
    fired: Path,
    counts: Int64[np.ndarray, " latent"],
    out_token: Int[np.ndarray, " entry"],
    out_value: Float32[np.ndarray, " entry"],
    *,
    block: int = BLOCK,
) -> Int64[np.ndarray, " latent+1"]:
    """Fill `out_token` and `out_value` (memory maps) by latent; returns each latent's offsets.

    `latents` (int32) and `values` (float32) are raw files of all entries in the order of the tokens, `fired` (int32)
    how many entries each token has, `counts` how many each latent has.
    """
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    cursor = offsets[:-1].copy()
    per_token, all_latents, all_values = _raw(fired, np.int32), _raw(latents, np.int32), _raw(values, np.float32)
    mean = max(1.0, float(offsets[-1]) / max(1, len(per_token)))
    step = max(1, int(block / mean))
    start = 0
    for first in range(0, len(per_token), step):
        part = np.array(per_token[first : first + step])
        stop = start + int(part.sum(dtype=np.int64))
        scatter(
            np.array(all_latents[start:stop]),
            np.array(all_values[start:stop]),
            part,
            first,
            cursor,
            out_token,
            out_value,
        )
        start = stop
    return offsets


def _raw(path: Path, dtype: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """A raw file, memory-mapped; an empty one cannot be."""
    if path.stat().st_size == 0:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))
