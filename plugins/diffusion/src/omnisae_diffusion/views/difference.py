"""How much two pictures differ, pixel by pixel, and the scale on which that is coloured."""

from functools import cache

import numpy as np
from jaxtyping import Float, UInt8

from omnisae.errors import OmnisaeError

LEVELS = 255
"""The largest difference that two pixels may have."""
ANCHORS = (
    *("#000004", "#0b0724", "#210c4a", "#3d0965", "#57106e", "#71196e", "#8a226a", "#a32c61", "#bc3754"),
    *("#d24644", "#e45a31", "#f1731d", "#f98e09", "#fcac11", "#f9cb35", "#f2ea69", "#fcffa4"),
)
"""Every sixteenth colour of matplotlib's `inferno` (Smith, van der Walt and Firing 2015; CC0): no difference is black,
and lightness rises evenly, also for the colour-blind. A latent's scale is another, so that neither is taken for it."""


@cache
def table() -> UInt8[np.ndarray, "256 3"]:
    """The scale, smallest difference first, sRGB."""
    anchors = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in ANCHORS], dtype=np.float64)
    where, knots = np.linspace(0.0, 1.0, 256), np.linspace(0.0, 1.0, len(ANCHORS))
    return np.stack([np.interp(where, knots, anchors[:, c]) for c in range(3)], axis=1).round().astype(np.uint8)


def difference(
    before: UInt8[np.ndarray, "y x 3"], after: UInt8[np.ndarray, "y x 3"], where: str = "pictures"
) -> Float[np.ndarray, "y x"]:
    """The mean over the three colours of |after − before|, in levels of 0 to 255. Raises OmnisaeError where the sizes
    differ; `where` names the pair in the message."""
    if before.shape != after.shape:
        sizes = f"{before.shape[1]} × {before.shape[0]} before and {after.shape[1]} × {after.shape[0]} after"
        raise OmnisaeError(f"{where} have {sizes}; pixels are compared one by one", "give two pictures of one size")
    gap: Float[np.ndarray, "y x"] = np.abs(after.astype(np.float32) - before.astype(np.float32)).mean(axis=2)
    return gap


def coloured(gap: Float[np.ndarray, "y x"], ceiling: float) -> UInt8[np.ndarray, "y x 3"]:
    """Differences as colours: 0 is the scale's first, `ceiling` and what lies above it the last."""
    share = np.clip(gap / max(ceiling, 1e-30), 0.0, 1.0)
    colours: UInt8[np.ndarray, "y x 3"] = table()[np.round(share * 255).astype(int)]
    return colours
