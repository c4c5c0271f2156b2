"""The one colour scale: perceptually even, readable by the colour-blind, strongest is lightest.

The anchors are those of matplotlib's `plasma` (Smith, van der Walt and Firing 2015; CC0), every sixteenth of its table
from the fourth on: its darkest part could not be told from the picture beneath.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, UInt8

ANCHORS = (
    *("#7e03a8", "#9511a1", "#aa2395", "#bc3587", "#cc4778", "#da5a6a", "#e66c5c"),
    *("#f0804e", "#f89540", "#fdac33", "#fdc527", "#f8df25", "#f0f921"),
)
SILENT = "#767b85"
"""What a latent that is silent is drawn in: no colour of the scale."""


@cache
def table() -> UInt8[np.ndarray, "256 3"]:
    """The scale, weakest first, sRGB."""
    anchors = np.array([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in ANCHORS], dtype=np.float64)
    where, knots = np.linspace(0.0, 1.0, 256), np.linspace(0.0, 1.0, len(ANCHORS))
    return np.stack([np.interp(where, knots, anchors[:, c]) for c in range(3)], axis=1).round().astype(np.uint8)


@cache
def codes() -> tuple[str, ...]:
    """The scale as hexadecimal colours, weakest first."""
    return tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in table().tolist())


def colour(share: float) -> str:
    """The colour of a value as a share of the latent's largest value."""
    return codes()[int(np.clip(round(share * 255), 0, 255))]


def lightness(rgb: Float[np.ndarray, "colour 3"]) -> Float[np.ndarray, " colour"]:
    """CIE L* (0 to 100, D65) of sRGB colours given in 0…255."""
    part = np.asarray(rgb, dtype=np.float64) / 255.0
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    result: Float[np.ndarray, " colour"] = np.where(y > 216 / 24389, 116.0 * np.cbrt(y) - 16.0, y * 24389 / 27)
    return result
