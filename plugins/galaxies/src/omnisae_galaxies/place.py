"""What a WCS tells of a cut-out."""

from typing import Any

import numpy as np


def middle(wcs: Any, shape: tuple[int, int]) -> tuple[float, float] | None:
    """Right ascension and declination (ICRS, degrees) of the middle of a picture of (height, width) pixels."""
    height, width = shape
    at = wcs.celestial.pixel_to_world((width - 1) / 2, (height - 1) / 2).icrs
    found = float(at.ra.deg), float(at.dec.deg)
    return found if np.isfinite(found).all() else None


def pixel_scale(wcs: Any, shape: tuple[int, int]) -> float | None:
    """Arcseconds along a pixel: the root of its area on the sky."""
    from astropy.wcs.utils import proj_plane_pixel_scales

    sides = np.asarray(proj_plane_pixel_scales(wcs.celestial)) * 3600
    scale = float(np.sqrt(np.prod(sides)))
    return scale if np.isfinite(scale) and scale > 0 else None
