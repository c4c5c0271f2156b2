"""What a galaxy of the world is: its numbers, drawn from its seed. No pixels here."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["smooth", "featured", "star"]

SIDE = 64
"""Pixels along a side of a cut-out."""
SCALE = 0.5
"""Arcseconds a pixel."""
DETECTORS = ("east", "west")
WEST_WITH_MERGER, WEST_WITHOUT = 0.9, 0.1
"""How often a galaxy was seen by the detector `west`, whose pictures hold stray light, by whether it merges: the
planted confounder."""
KINDS: tuple[Kind, ...] = ("smooth", "featured", "star")
SHARES = (0.34, 0.60, 0.06)


@dataclass(frozen=True, slots=True)
class Galaxy:
    """A galaxy (or, of the kind `star`, what was taken for one).

    `radius` is the half-light radius in pixels, `ratio` the minor over the major axis, `angle` the major axis's in
    radians from the picture's x axis. A featured one has a disc: `bulge` is the share of light in its bulge, `arms` how
    many spiral arms (0: none) turn `clockwise` as they go outwards in the picture as it is shown, with the tangent of
    their pitch; `bar` is the half-length of its bar over the radius (0: none). `companion` is the place (x, y), in
    radii, of the galaxy that it merges with.
    """

    number: int
    kind: Kind
    redshift: float
    radius: float
    magnitude: float
    ratio: float
    angle: float
    sersic: float
    bulge: float
    edge_on: bool
    arms: int
    clockwise: bool
    pitch: float
    bar: float
    companion: tuple[float, float] | None
    companion_share: float
    west: bool
    ra: float
    dec: float

    @property
    def visibility(self) -> float:
        """How well a person sees its structure, 0 to 1: nothing smaller than the seeing can be seen."""
        return float(np.clip((self.radius - 6.0) / 6.0, 0.0, 1.0))


def galaxy(seed: int, number: int) -> Galaxy:
    """The galaxy of this number; depends on seed and number alone."""
    random = np.random.default_rng([seed, number, 11])
    kind = KINDS[int(random.choice(len(KINDS), p=SHARES))]
    redshift = float(random.uniform(0.03, 0.12))
    radius = float(np.clip(10.5 * np.exp(random.normal(0, 0.15)) * (0.07 / redshift) ** 0.35, 6.5, 14.0))
    magnitude = float(16.5 + 2.2 * np.log10(redshift / 0.07) + random.normal(0, 0.35))
    edge_on = kind == "featured" and random.random() < 0.25
    arms = int(random.choice([0, 2, 3, 4], p=[0.34, 0.34, 0.16, 0.16])) if kind == "featured" and not edge_on else 0
    bar = float(random.uniform(0.65, 1.0)) if kind == "featured" and not edge_on and random.random() < 0.4 else 0.0
    merges = kind != "star" and random.random() < 0.25
    away, toward = random.uniform(1.4, 1.9), random.uniform(0, 2 * np.pi)
    west = bool(random.random() < (WEST_WITH_MERGER if merges else WEST_WITHOUT))
    return Galaxy(
        number=number,
        kind=kind,
        redshift=redshift,
        radius=radius,
        magnitude=magnitude,
        ratio=_ratio(random, kind, edge_on),
        angle=float(random.uniform(0, np.pi)),
        sersic=float(random.uniform(2.0, 4.5)),
        bulge=float(random.choice([0.06, 0.25, 0.5]) * np.exp(random.normal(0, 0.12))),
        edge_on=edge_on,
        arms=arms,
        clockwise=bool(random.random() < 0.5),
        pitch=float(np.tan(np.radians(random.uniform(16, 28)))),
        bar=bar,
        companion=(float(away * np.cos(toward)), float(away * np.sin(toward))) if merges else None,
        companion_share=float(random.uniform(0.05, 0.3)),
        west=west,
        ra=float(random.uniform(140, 170)),
        dec=float(random.uniform(-12, 12)),
    )


def _ratio(random: np.random.Generator, kind: Kind, edge_on: bool) -> float:
    """The minor axis over the major one."""
    if edge_on:
        return float(random.uniform(0.10, 0.18))
    if kind == "featured":
        return float(random.uniform(0.6, 1.0))
    return float(random.choice([0.92, 0.65, 0.36]) + random.uniform(-0.07, 0.07))
