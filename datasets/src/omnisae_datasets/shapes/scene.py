"""What stands in one picture of the world: drawn by lot from a seed and the picture's number alone."""

import math
from dataclasses import dataclass

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 46, 44),
    "green": (50, 158, 62),
    "blue": (46, 92, 208),
    "yellow": (238, 212, 46),
    "purple": (140, 62, 176),
    "orange": (240, 134, 32),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
TEXTURES = ("plain", "striped", "dotted", "checked")
CONCEPTS = (*COLOURS, *SHAPES, *TEXTURES)

SIZE = 64
"""Pixels along each side."""
MOST_OBJECTS = 4
RADII = (9.0, 17.0)
SMALLEST = 7.5
TILT = 0.4


@dataclass(frozen=True, slots=True)
class Thing:
    """One object. Lengths in pixels, angles in radians; `rgb` is its colour, `shade` what its texture darkens it to."""

    colour: str
    shape: str
    texture: str
    x: float
    y: float
    radius: float
    angle: float
    grain: float
    period: float
    rgb: tuple[float, float, float]
    shade: float


@dataclass(frozen=True, slots=True)
class Scene:
    """The background (two colours, the direction of the gradient, the noise) and the objects, hindmost first."""

    ends: tuple[tuple[float, float, float], tuple[float, float, float]]
    direction: float
    noise: float
    things: tuple[Thing, ...]


def scene(seed: int, number: int) -> Scene:
    """The scene of picture `number`: the same however many pictures are drawn beside it."""
    draw = np.random.default_rng([seed, number])
    wanted = int(draw.integers(1, MOST_OBJECTS + 1))
    things: list[Thing] = []
    for _ in range(wanted):
        thing = _thing(draw, things)
        if thing is not None:
            things.append(thing)
    grey = draw.uniform(45, 205)
    ends = (_rgb(grey + draw.uniform(-35, 35) + draw.uniform(-14, 14, 3)) for _ in range(2))
    return Scene(
        (next(ends), next(ends)), float(draw.uniform(0, 2 * math.pi)), float(draw.uniform(3, 12)), tuple(things)
    )


def _thing(draw: np.random.Generator, others: list[Thing]) -> Thing | None:
    """An object that keeps clear of the others, or None where no room was found."""
    names = list(COLOURS)
    colour, shape, texture = (names[draw.integers(6)], SHAPES[draw.integers(6)], TEXTURES[draw.integers(4)])
    grain = float(draw.uniform(0, 2 * math.pi))
    angle = float(draw.uniform(-TILT, TILT))
    period, shade = float(draw.uniform(4.6, 6.0)), float(draw.uniform(0.22, 0.42))
    rgb = _rgb(np.clip(np.array(COLOURS[colour]) + draw.uniform(-16, 16, 3), 0, 255))
    for attempt in range(40):
        radius = max(float(draw.uniform(*RADII)) * (1 - attempt / 80), SMALLEST)
        x, y = (float(v) for v in draw.uniform(radius + 1, SIZE - radius - 1, 2))
        if all(math.hypot(x - o.x, y - o.y) > 0.92 * (radius + o.radius) for o in others):
            return Thing(colour, shape, texture, x, y, radius, angle, grain, period, rgb, shade)
    return None


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
