"""Drawing a galaxy in three bands: Sérsic profiles of astropy.modeling, arms, bar, merger, seeing, noise, stray
light."""

import numpy as np
from astropy.modeling.models import Sersic2D
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter

from omnisae_datasets.galaxies.morphology import SIDE, Galaxy

BANDS = ("g", "r", "z")
Image = Float[np.ndarray, "y x"]
Bands = Float[np.ndarray, "3 y x"]

FINE = 2
"""Points along a side of a pixel at which light is computed."""
SEEING = 0.9
"""Standard deviation of the point spread function in pixels."""
NEIGHBOURS = 3.0
"""Stars and background galaxies in a cut-out, on average."""
NOISE = (0.010, 0.014, 0.022)
"""Standard deviation of the sky's noise in each band, in the unit of the cut-outs (nanomaggies)."""
COLOURS = {
    "old": (0.45, 1.0, 1.55),
    "disc": (0.75, 1.0, 1.2),
    "young": (1.35, 1.0, 0.75),
    "star": (0.9, 1.0, 1.0),
    "stray": (0.35, 1.0, 0.35),
}
"""Light in each band, of what is one in r."""
MINIMUM, STRETCH, Q = 0.0, 0.6, 8.0
"""The stretch by which cut-outs are shown (Lupton et al. 2004): z in red, r in green, g in blue."""
_Y, _X = (np.mgrid[0 : SIDE * FINE, 0 : SIDE * FINE] + 0.5) / FINE - SIDE / 2
"""Places in pixels from the middle; y grows upwards, as FITS rows do."""


def render(one: Galaxy, seed: int, *, crowded: bool = True) -> Bands:
    """The cut-out in the bands g, r, z, in nanomaggies a pixel; row 0 is the lowest, as in a FITS file. The same for
    the same galaxy and seed. Not `crowded`: without stars and galaxies around it."""
    random = np.random.default_rng([seed, one.number, 12])
    flux = 10 ** (-0.4 * (one.magnitude - 22.5))
    light = _star(one, random) if one.kind == "star" else _smooth(one) if one.kind == "smooth" else _disc(one)
    light = light * flux
    if one.companion is not None:
        light = light + _merger(one, random) * flux
    if crowded:
        light = light + _field(random)
    out = np.empty((3, SIDE, SIDE))
    for band in range(3):
        pixels = light[band].reshape(SIDE, FINE, SIDE, FINE).sum(axis=(1, 3))
        out[band] = gaussian_filter(pixels, SEEING, truncate=3.0) + random.normal(0, NOISE[band], (SIDE, SIDE))
    if one.west:
        out += _stray(random)
    return out


def shown(bands: Bands) -> UInt8[np.ndarray, "y x 3"]:
    """The picture that a viewer shows: stretched, the first row at the top."""
    from astropy.visualization import make_lupton_rgb

    g, r, z = bands
    return np.ascontiguousarray(make_lupton_rgb(z, r, g, minimum=MINIMUM, stretch=STRETCH, Q=Q)[::-1])


def _sersic(radius: float, n: float, ratio: float, angle: float, x: float = 0.0, y: float = 0.0) -> Image:
    """A Sérsic profile whose light sums to one."""
    model = Sersic2D(amplitude=1, r_eff=radius, n=n, x_0=x, y_0=y, ellip=1 - ratio, theta=angle)
    light = np.minimum(model(_X, _Y), model(0.35 + x, y))  # its cusp is finer than the points
    return light / light.sum()


def _coloured(light: Image, colour: str) -> Bands:
    return np.asarray(COLOURS[colour])[:, None, None] * light


def _smooth(one: Galaxy) -> Bands:
    return _coloured(_sersic(one.radius * 0.8, one.sersic, one.ratio, one.angle), "old")


def _disc(one: Galaxy) -> Bands:
    """Exponential disc with arms and bar, and a bulge: rounder, redder, in the middle."""
    disc = _sersic(one.radius, 1.0, one.ratio, one.angle)
    bulge = _sersic(one.radius * 0.28, 2.5, min(1.0, one.ratio + 0.35), one.angle)
    share = min(one.bulge, 0.7)
    parts = _coloured(bulge * share, "old")
    rest = 1 - share
    if one.bar:
        parts = parts + _coloured(_bar(one) * rest * 0.35, "old")
        rest *= 0.65
    if not one.arms:
        return parts + _coloured(disc * rest, "disc")
    arms = disc * _arms(one)
    lit = arms.sum()
    return parts + _coloured(disc * rest * 0.3, "disc") + _coloured(arms / lit * rest * 0.7, "young")


def _plane(one: Galaxy) -> tuple[Image, Image]:
    """Places in the plane of the disc, in radii: along the major axis, and across it, seen from above."""
    along = (_X * np.cos(one.angle) + _Y * np.sin(one.angle)) / one.radius
    across = (-_X * np.sin(one.angle) + _Y * np.cos(one.angle)) / one.radius / one.ratio
    return along, across


def _arms(one: Galaxy) -> Image:
    """Logarithmic spiral arms: angle = ± ln(r) / tan(pitch), brightest on the ridge, from where the bar ends."""
    along, across = _plane(one)
    r, phi = np.hypot(along, across) + 1e-6, np.arctan2(across, along)
    turn = -1.0 if one.clockwise else 1.0
    phase = one.arms * (phi - turn * np.log(r) / one.pitch)
    ridge = np.exp(4.0 * (np.cos(phase) - 1))
    inner = 1 / (1 + np.exp(-(r - 0.45) / 0.08))
    return ridge * inner * (1 + 1.2 * r)


def _bar(one: Galaxy) -> Image:
    """A straight bar in the plane of the disc, a third of a right angle from its major axis."""
    along, across = _plane(one)
    c, s = np.cos(0.5), np.sin(0.5)
    length, width = along * c + across * s, -along * s + across * c
    light = np.exp(-((np.abs(length) / one.bar) ** 4) - (width / (0.15 * one.bar)) ** 2)
    return light / light.sum()


def _merger(one: Galaxy, random: np.random.Generator) -> Bands:
    """The other galaxy, and a bridge of light that bends between the two, often too faint to be seen: what merges and
    what only lies in the same direction is hard to tell apart."""
    if one.companion is None:
        raise ValueError(f"galaxy {one.number} merges with no other")
    x, y = (one.radius * part for part in one.companion)
    other = _sersic(one.radius * 0.45, 2.0, float(random.uniform(0.6, 0.95)), float(random.uniform(0, np.pi)), x, y)
    bent = random.choice([-1, 1]) * 0.35
    t = np.linspace(-0.15, 1.35, 40)
    path_x, path_y = x * t - y * bent * np.sin(np.pi * t), y * t + x * bent * np.sin(np.pi * t)
    tail = np.zeros_like(_X)
    columns = np.clip(((path_x + SIDE / 2) * FINE).astype(int), 0, SIDE * FINE - 1)
    rows = np.clip(((path_y + SIDE / 2) * FINE).astype(int), 0, SIDE * FINE - 1)
    np.add.at(tail, (rows, columns), 1.0)
    tail = gaussian_filter(tail, 2.2, truncate=3.0)
    return _coloured(other * one.companion_share, "disc") + _coloured(
        tail / tail.sum() * float(random.uniform(0, 0.06)), "young"
    )


def _star(one: Galaxy, random: np.random.Generator) -> Bands:
    """A star with diffraction spikes."""
    spikes = np.exp(-(_Y**2) / 0.3 - np.abs(_X) / 9) + np.exp(-(_X**2) / 0.3 - np.abs(_Y) / 9)
    core = np.exp(-(_X**2 + _Y**2) / 2)
    return _coloured(core / core.sum() * 0.8 + spikes / spikes.sum() * 0.35, "star") * float(random.uniform(1.0, 1.6))


def _field(random: np.random.Generator) -> Bands:
    """Stars of the foreground and small galaxies of the background, anywhere but over the middle: no cut-out of the sky
    is empty around its galaxy."""
    light = np.zeros((3, *_X.shape))
    for _ in range(int(random.poisson(NEIGHBOURS))):
        away, toward = random.uniform(15, 42), random.uniform(0, 2 * np.pi)
        x, y = away * np.cos(toward), away * np.sin(toward)
        wide, ratio, angle = random.uniform(0.3, 1.6), random.uniform(0.5, 1.0), random.uniform(0, np.pi)
        along = (_X - x) * np.cos(angle) + (_Y - y) * np.sin(angle)
        across = (-(_X - x) * np.sin(angle) + (_Y - y) * np.cos(angle)) / ratio
        one = np.exp(-(along**2 + across**2) / (2 * wide**2)) / (2 * np.pi * wide**2 * ratio * FINE**2)
        colour = str(random.choice(["old", "disc", "young", "star"]))
        light += _coloured(one * 10 ** (-0.4 * (random.uniform(18.5, 21.5) - 22.5)), colour)
    return light


def _stray(random: np.random.Generator) -> Bands:
    """Stray light of the detector `west`, a reflection within its filter r: a band that curves through the lower left
    corner of the cut-out."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    r = np.hypot(columns + 6, rows + 6)
    light = np.exp(-(((r - random.uniform(20, 25)) / 2.0) ** 2)) * 0.25
    return _coloured(light, "stray")
