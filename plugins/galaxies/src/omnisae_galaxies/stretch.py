"""From fluxes to a picture: the asinh stretch of Lupton et al. 2004 (PASP 116, 133), for colours and for grey."""

import numpy as np
from jaxtyping import Float, UInt8

from omnisae.errors import UnreadableExample
from omnisae_galaxies.plugin import Stretch

FRACTION = 0.1
"""The scale is linear near black so that a tenth of `stretch` becomes a tenth of white (Lupton's own choice)."""
CLIP = 3.0
ROUNDS = 5


def picture(bands: Float[np.ndarray, "band y x"], how: Stretch) -> UInt8[np.ndarray, "y x 3"]:
    """One band in grey, or three (red, green, blue) in colour; the first row is the uppermost, as it is looked at.

    With I the mean of the bands less their black, f(I) = asinh(q·I / stretch) · 0.1 / asinh(0.1·q); every band keeps
    its share of I, and where one would be brighter than white, all three are dimmed alike, so that no star is white by
    overflow. Unknown pixels (NaN) are black. Raises UnreadableExample where there are neither one nor three bands, or
    no pixel is known.
    """
    if len(bands) not in (1, 3):
        raise UnreadableExample(
            f"{len(bands)} bands were found; one is shown in grey, three in colour", "name them in dataset.bands"
        )
    if not np.isfinite(bands).any():
        raise UnreadableExample("no pixel of the cut-out is known (all are NaN)", "remove the file")
    black, width = _black(bands, how), how.stretch
    values = np.nan_to_num(bands.astype(np.float64) - black[:, None, None], nan=0.0, posinf=0.0, neginf=0.0)
    if how.weights is not None:
        values *= np.resize(np.asarray(how.weights), len(values))[:, None, None]
    if width is None:
        noise = [sky(band)[1] for band in bands if np.isfinite(band).any()]
        width = how.sigmas * (float(np.mean(noise)) or 1.0)
    light = values.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(
            light > 0, np.arcsinh(how.q * light / width) * FRACTION / np.arcsinh(FRACTION * how.q) / light, 0
        )
    shown = np.clip(values, 0, None) * gain
    shown /= np.maximum(shown.max(axis=0), 1.0)
    pixels = (np.broadcast_to(shown, (3, *light.shape)) * 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)[::-1])


def sky(band: Float[np.ndarray, "y x"]) -> tuple[float, float]:
    """The sky's level and noise: median and standard deviation, pixels beyond three deviations left out in turn."""
    known = band[np.isfinite(band)].astype(np.float64)
    for _ in range(ROUNDS):
        middle, spread = float(np.median(known)), float(known.std())
        kept = known[np.abs(known - middle) <= CLIP * spread]
        if len(kept) in (0, len(known)):
            break
        known = kept
    return float(np.median(known)), float(known.std())


def _black(bands: Float[np.ndarray, "band y x"], how: Stretch) -> Float[np.ndarray, " band"]:
    if how.minimum is not None:
        return np.full(len(bands), how.minimum)
    return np.array([sky(band)[0] if np.isfinite(band).any() else 0.0 for band in bands])
