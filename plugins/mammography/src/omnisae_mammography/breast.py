"""Where the breast is: the largest area that is brighter than air."""

import numpy as np
from jaxtyping import Bool, Num, UInt16

AIR = 0.05
COARSE = 4
"""Pixels that are looked at together: lead letters stand apart from the breast by more than that."""


def largest(bright: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """The largest connected area, its holes filled."""
    from scipy.ndimage import binary_fill_holes, label

    areas, count = label(bright)
    if not count:
        return bright
    sizes = np.bincount(areas.ravel())
    sizes[0] = 0
    return np.asarray(binary_fill_holes(areas == sizes.argmax()))


def breast(grey: Num[np.ndarray, "y x"], air: float) -> Bool[np.ndarray, "y x"]:
    """The breast's pixels; `air` is the grey value up to which a pixel counts as air. Found on blocks of 4 × 4."""
    height, width = grey.shape
    tall, wide = -(-height // COARSE), -(-width // COARSE)
    padded = np.zeros((tall * COARSE, wide * COARSE), dtype=grey.dtype)
    padded[:height, :width] = grey
    blocks = padded.reshape(tall, COARSE, wide, COARSE).mean(axis=(1, 3))
    where = largest(blocks > air)
    return np.kron(where, np.ones((COARSE, COARSE), dtype=bool))[:height, :width]


def only_breast(grey: UInt16[np.ndarray, "y x"]) -> UInt16[np.ndarray, "y x"]:
    """The picture with everything but the breast blackened."""
    return np.where(breast(grey, AIR * 65_535), grey, 0).astype(np.uint16)
