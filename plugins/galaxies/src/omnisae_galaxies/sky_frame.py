"""The frame of a map of the sky: projections, axes, and where galaxies lie on the canvas."""

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from omnisae.svg import ticks
from omnisae_galaxies import draw

Points = Float[np.ndarray, "point 2"]
WIDE, TALL = 800, 460
EDGE = (64, 26, 18, 44)
"""Room for the axes' numbers: left, top, right, bottom."""
GRID = (58, 61, 70)
TEXT = 20


def extent(places: Points) -> float:
    """How far apart galaxies lie: twice the largest angle, in degrees, from the middle of all."""
    ra, dec = np.radians(places).T
    vectors = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    middle = vectors.mean(axis=0)
    norm = float(np.linalg.norm(middle))
    if norm < 1e-9:
        return 360.0
    return 2 * float(np.degrees(np.arccos(np.clip(vectors @ middle / norm, -1, 1)).max()))


def mollweide(places: Points) -> Points:
    """Places in Mollweide's projection of equal areas, right ascension 0 in the middle and growing to the left: x from
    −2 to 2, y from −1 to 1. θ solves 2θ + sin 2θ = π sin δ, by bisection, which converges at the poles, too."""
    ra = np.radians((np.asarray(places)[:, 0] + 180) % 360 - 180)
    want = np.pi * np.sin(np.radians(np.asarray(places)[:, 1]))
    low, high = np.full(len(want), -np.pi / 2), np.full(len(want), np.pi / 2)
    for _ in range(50):
        middle = (low + high) / 2
        short = 2 * middle + np.sin(2 * middle) < want
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    theta = (low + high) / 2
    return np.stack([-2 / np.pi * ra * np.cos(theta), np.sin(theta)], axis=1)


def unwrapped(ra: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """Right ascensions without the jump at 360°: as many turns added that they lie together."""
    middle = np.degrees(np.angle(np.exp(1j * np.radians(ra)).mean()))
    return (ra - middle + 180) % 360 - 180 + middle


def plain(places: Points) -> tuple[Image.Image, Points]:
    """Axes in degrees, and the places on the canvas. A degree of right ascension is as long as on the sky there."""
    canvas = Image.new("RGB", (WIDE, TALL), draw.PAPER)
    pen = ImageDraw.Draw(canvas)
    if not len(places):
        return canvas, np.zeros((0, 2))
    left, top, right, bottom = EDGE
    ra, dec = unwrapped(places[:, 0]), places[:, 1]
    narrow = max(float(np.cos(np.radians(dec.mean()))), 0.05)
    room = np.array([WIDE - left - right, TALL - top - bottom])
    span = np.array([np.ptp(ra) * narrow, np.ptp(dec)])
    scale = 0.94 * float((room / np.maximum(span, 1e-4)).min())
    middle = np.array([(ra.max() + ra.min()) / 2, (dec.max() + dec.min()) / 2])
    centre = np.array([left, top]) + room / 2

    def at(points: Points) -> Points:
        return centre + (points - middle) * np.array([-narrow * scale, -scale])

    half = room / 2 / scale / np.array([narrow, 1.0])
    for tick in ticks(middle[0] - half[0], middle[0] + half[0], 6):
        x = float(at(np.array([[tick, middle[1]]]))[0, 0])
        pen.line([(x, top), (x, TALL - bottom)], fill=GRID)
        _text(pen, x, TALL - bottom + 4, f"{tick % 360:.6g}°", 0.5)
    for tick in ticks(middle[1] - half[1], middle[1] + half[1], 5):
        y = float(at(np.array([[middle[0], tick]]))[0, 1])
        pen.line([(left, y), (WIDE - right, y)], fill=GRID)
        _text(pen, left - 6, y - 12, _signed(tick), 1.0)
    _text(pen, WIDE - right, TALL - 22, "right ascension", 1.0)
    _text(pen, 4, 0, "declination", 0.0)
    return canvas, at(np.stack([ra, dec], axis=1))


def whole(places: Points) -> tuple[Image.Image, Points]:
    """The whole sky with its meridians and parallels, and the places on the canvas."""
    canvas = Image.new("RGB", (WIDE, TALL), draw.PAPER)
    pen = ImageDraw.Draw(canvas)
    scale = min((WIDE - 90) / 4, (TALL - 50) / 2)

    def at(points: Points) -> Points:
        return np.array([WIDE / 2, TALL / 2]) + mollweide(points) * np.array([scale, -scale])

    steps = np.linspace(-90, 90, 61)
    for ra in range(-180, 181, 60):
        meridian = np.stack([np.full_like(steps, np.clip(ra, -179.999, 179.999)), steps], axis=1)
        pen.line([tuple(point) for point in at(meridian).tolist()], fill=GRID)
    around = np.linspace(-179.999, 179.999, 61)
    for dec in range(-60, 61, 30):
        parallel = np.stack([around, np.full_like(around, dec)], axis=1)
        pen.line([tuple(point) for point in at(parallel).tolist()], fill=GRID)
        x, y = at(np.array([[179.999, float(dec)]]))[0]
        _text(pen, float(x) - 4, float(y) - 12, _signed(dec), 1.0)
    for ra in range(-120, 121, 60):
        x, y = at(np.array([[float(ra), 0.0]]))[0]
        _text(pen, float(x) + 4, float(y), f"{ra % 360}°", 0.0)
    return canvas, at(np.asarray(places, dtype=np.float64).reshape(-1, 2))


def _signed(value: float) -> str:
    """A declination."""
    return f"{value:+.6g}°" if abs(value) > 1e-9 else "0°"


def _text(pen: ImageDraw.ImageDraw, x: float, y: float, words: str, anchor: float) -> None:
    """Text whose left edge (0), middle (0.5) or right edge (1) is at x."""
    letters = draw.font(TEXT)
    pen.text((x - anchor * letters.getlength(words), y), words, fill=draw.SOFT, font=letters)
