"""How much of every token's cell a mask covers."""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64


def coverage(mask: Bool[np.ndarray, "y x"], rows: int, columns: int) -> Float64[np.ndarray, "row column"]:
    """The covered share of each cell of a grid of `rows` × `columns` cells laid over the mask, in [0, 1].

    Cells have their true extent: where the mask's size is no multiple of the grid's, a pixel that two cells share
    counts for each by the area that lies in it.
    """
    down, across = _shares(mask.shape[0], rows), _shares(mask.shape[1], columns)
    share: Float64[np.ndarray, "row column"] = down @ mask.astype(np.float64) @ across.T
    return share


@lru_cache(maxsize=64)
def _shares(pixels: int, cells: int) -> Float64[np.ndarray, "cell pixel"]:
    """The share of every cell's length that each pixel fills."""
    edges = np.arange(cells + 1) * (pixels / cells)
    left = np.maximum(edges[:-1, None], np.arange(pixels)[None, :])
    right = np.minimum(edges[1:, None], np.arange(1, pixels + 1)[None, :])
    return np.asarray(np.clip(right - left, 0.0, None) / (pixels / cells))
