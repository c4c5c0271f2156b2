"""The inks: four ways of printing a grey digit in colour, the world's second domain beside the digit itself."""

import numpy as np
from jaxtyping import Float

INKS = ("chalk", "ink", "neon", "stamp")
"""White on black, navy on cream, magenta running into cyan on black, red on light grey."""
PAPER: dict[str, tuple[float, float, float]] = {
    "chalk": (0.05, 0.05, 0.08),
    "ink": (0.98, 0.93, 0.80),
    "neon": (0.02, 0.0, 0.1),
    "stamp": (0.82, 0.84, 0.86),
}
PEN: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "chalk": ((0.97, 0.97, 0.95), (0.97, 0.97, 0.95)),
    "ink": ((0.08, 0.12, 0.45), (0.08, 0.12, 0.45)),
    "neon": ((1.0, 0.1, 0.8), (0.1, 0.95, 1.0)),
    "stamp": ((0.80, 0.08, 0.10), (0.80, 0.08, 0.10)),
}
"""The colour of the stroke at the top of the picture and at its foot."""


def printed(grey: Float[np.ndarray, "*n y x"], ink: str) -> Float[np.ndarray, "*n y x 3"]:
    """Grey values from 0 (paper) to 1 (stroke) as a picture in colour, 0 to 1."""
    top, foot = (np.asarray(colour) for colour in PEN[ink])
    down = np.linspace(0.0, 1.0, grey.shape[-2])[:, None, None]
    pen = top * (1 - down) + foot * down
    share = grey[..., None]
    return np.asarray(PAPER[ink]) * (1 - share) + pen * share
