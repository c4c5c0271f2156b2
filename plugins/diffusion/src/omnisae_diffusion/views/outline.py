"""The outline of an area over a picture, seen on light and on dark ones."""

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import binary_dilation, binary_erosion

from omnisae_diffusion.views.canvas import Picture, fitted

LINE, UNDER = (87, 199, 255), (0, 0, 0)


def scaled(mask: Bool[np.ndarray, "y x"], size: tuple[int, ...]) -> Bool[np.ndarray, "y2 x2"]:
    """A mask at another size (height, width): every pixel is in the area where the cell that holds its middle is."""
    down, across = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, mask.shape, strict=True))
    return np.asarray(mask, dtype=bool)[np.ix_(down, across)]


def outlined(picture: Picture, area: Bool[np.ndarray, "y x"], side: int) -> Picture:
    """The picture as a grid shows it, with the area's border: a light line within and a dark one around it."""
    shown = np.asarray(fitted(picture, side)).copy()
    fine = scaled(area, shown.shape[:2])
    thick = max(2, round(max(shown.shape[:2]) / 64))
    line = fine & ~binary_erosion(fine, iterations=thick)
    shown[binary_dilation(fine, iterations=max(1, thick // 2)) & ~fine] = UNDER
    shown[line] = LINE
    return shown
