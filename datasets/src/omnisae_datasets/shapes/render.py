"""Painting a scene: every edge is a signed distance, smoothed over one pixel."""

import math

import numpy as np
from jaxtyping import Float, UInt8

from omnisae_datasets.shapes.scene import SIZE, Scene, Thing

Plane = Float[np.ndarray, "y x"]


def render(scene: Scene, seed: int, number: int) -> tuple[UInt8[np.ndarray, "y x 3"], UInt8[np.ndarray, "y x"]]:
    """The picture and its instance mask (0: background; k: the k-th object, where it is what one sees)."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64) + 0.5
    along = (x - SIZE / 2) * math.cos(scene.direction) + (y - SIZE / 2) * math.sin(scene.direction)
    share = np.clip(along / SIZE + 0.5, 0, 1)[..., None]
    canvas = (1 - share) * np.array(scene.ends[0]) + share * np.array(scene.ends[1])
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    for instance, thing in enumerate(scene.things, start=1):
        part = _window(thing)
        cover = _coverage(_distance(thing, x[part], y[part]))
        paint = _texture(thing, x[part], y[part])[..., None] * np.array(thing.rgb)
        canvas[part] += cover[..., None] * (paint - canvas[part])
        mask[part][cover >= 0.5] = instance
    grain = np.random.default_rng([seed, number, 1]).normal(0, scene.noise, canvas.shape)
    return np.clip(np.round(canvas + grain), 0, 255).astype(np.uint8), mask


def _window(thing: Thing) -> tuple[slice, slice]:
    """The part of the picture that an object can touch: a square's corners reach furthest, to 1.16 radii."""
    reach = 1.2 * thing.radius + 1
    rows, columns = ((max(int(c - reach), 0), math.ceil(c + reach)) for c in (thing.y, thing.x))
    return slice(*rows), slice(*columns)


def _coverage(distance: Plane) -> Plane:
    return np.clip(0.5 - distance, 0, 1)


def _distance(thing: Thing, x: Plane, y: Plane) -> Plane:
    """Signed distance in pixels to the outline, negative inside."""
    r = thing.radius
    dx, dy = x - thing.x, y - thing.y
    c, s = math.cos(thing.angle), math.sin(thing.angle)
    u, v = c * dx + s * dy, c * dy - s * dx
    if thing.shape == "circle":
        return np.hypot(u, v) - r
    if thing.shape == "ring":
        return np.abs(np.hypot(u, v) - 0.73 * r) - 0.27 * r
    if thing.shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.82 * r
    if thing.shape == "cross":
        bar = np.maximum(np.abs(u) - r, np.abs(v) - 0.34 * r)
        return np.minimum(bar, np.maximum(np.abs(v) - r, np.abs(u) - 0.34 * r))
    if thing.shape == "triangle":
        return _regular(v, u, 3, 0.55 * r)  # its base below
    return _star(-v, u, r)  # a tip above


def _regular(u: Plane, v: Plane, corners: int, inradius: float) -> Plane:
    turns = 2 * math.pi * np.arange(corners) / corners
    return np.max([u * math.cos(t) + v * math.sin(t) for t in turns], axis=0) - inradius


def _star(u: Plane, v: Plane, r: float) -> Plane:
    """A five-pointed star: each point is a wedge around its ray."""
    angle = np.arctan2(v, u)
    off = np.abs((angle + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5)
    rho = np.hypot(u, v)
    px, py = rho * np.cos(off), rho * np.sin(off)
    tip, notch = np.array([r, 0.0]), 0.44 * r * np.array([math.cos(math.pi / 5), math.sin(math.pi / 5)])
    edge = notch - tip
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    return (px - tip[0]) * normal[0] + (py - tip[1]) * normal[1]


def _texture(thing: Thing, x: Plane, y: Plane) -> Plane:
    """How light the paint is at every pixel: 1, or down to the object's shade in the texture's dark parts."""
    if thing.texture == "plain":
        return np.ones_like(x)
    c, s = math.cos(thing.grain), math.sin(thing.grain)
    u, v = c * (x - thing.x) + s * (y - thing.y), c * (y - thing.y) - s * (x - thing.x)
    wave, other = np.cos(2 * math.pi * u / thing.period), np.cos(2 * math.pi * v / thing.period)
    if thing.texture == "striped":
        dark = np.clip(0.5 + 2.5 * wave, 0, 1)
    elif thing.texture == "dotted":
        dark = np.clip(0.5 + 2.5 * (wave + other - 0.75), 0, 1)
    else:
        dark = np.clip(0.5 + 4.0 * np.cos(math.pi * u / thing.period) * np.cos(math.pi * v / thing.period), 0, 1)
    return 1 - (1 - thing.shade) * dark
