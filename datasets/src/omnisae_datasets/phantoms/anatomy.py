"""What a phantom is made of: patients with two breasts, lesions seen in both views, and confounders. Numbers only."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Laterality = Literal["L", "R"]
View = Literal["CC", "MLO"]
Kind = Literal["Mass", "Suspicious Calcification", "Architectural Distortion", "Suspicious Lymph Node"]

HEIGHT, WIDTH = 256, 192
KINDS: tuple[Kind, ...] = (
    "Mass",
    "Suspicious Calcification",
    "Architectural Distortion",
    "Suspicious Lymph Node",
)
ORDER: tuple[tuple[Laterality, View], ...] = (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"))
"""The four pictures of an exam, in their order."""
SCANNERS = ("Northlight", "Meridian", "Aster")
"""Makers that do not exist."""
SCANNER_SHARES = (0.4, 0.35, 0.25)
MASS_RATE = (0.18, 0.30, 0.38)
"""How often a breast has a mass, by scanner: the scanner is a confounder."""
MARKER_WITH_MASS, MARKER_WITHOUT = 0.8, 0.1
"""How often a lead letter lies beside the breast, by whether it has a mass: the stronger confounder."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion of a breast. `depth` runs from the chest wall (0) to the nipple (1), `height` from −1 to 1 about the
    middle, one for each view; `radius` is in pixels, `seed` decides its form."""

    kind: Kind
    depth: float
    height: dict[View, float]
    radius: float
    contrast: float
    seed: int

    def seen_in(self, view: View) -> bool:
        """Lymph nodes lie in the axilla, which only the oblique view shows."""
        return view == "MLO" or self.kind != "Suspicious Lymph Node"


@dataclass(frozen=True, slots=True)
class Breast:
    """One breast. `size` scales the outline, `density` (0 to 1) is the share of dense tissue."""

    lesions: tuple[Lesion, ...]
    size: float
    density: float
    implant: bool


@dataclass(frozen=True, slots=True)
class Patient:
    """One exam: a scanner and two breasts; `marker` tells in which of the four pictures a lead letter lies."""

    number: int
    scanner: int
    breasts: dict[Laterality, Breast]
    marker: dict[tuple[Laterality, View], bool]


def patient(seed: int, number: int) -> Patient:
    """The patient of this number; depends on seed and number alone."""
    random = np.random.default_rng([seed, number, 1])
    scanner = int(random.choice(len(SCANNERS), p=SCANNER_SHARES))
    size, density, implant = random.uniform(0.85, 1.1), random.uniform(0.15, 0.85), random.random() < 0.08
    breasts: dict[Laterality, Breast] = {}
    for side in ("L", "R"):
        lesions = tuple(_lesions(random, scanner))
        breasts[side] = Breast(lesions, size * random.uniform(0.97, 1.03), density, implant)
    marker = {}
    for side, view in ORDER:
        has_mass = any(lesion.kind == "Mass" for lesion in breasts[side].lesions)
        marker[side, view] = bool(random.random() < (MARKER_WITH_MASS if has_mass else MARKER_WITHOUT))
    return Patient(number, scanner, breasts, marker)


def _lesions(random: np.random.Generator, scanner: int) -> list[Lesion]:
    """The lesions of a breast; no two lie at one height."""
    rates = {
        "Mass": MASS_RATE[scanner],
        "Suspicious Calcification": 0.25,
        "Architectural Distortion": 0.22,
        "Suspicious Lymph Node": 0.3,
    }
    heights = list(random.permutation([-0.55, 0.0, 0.55]))
    found = []
    for kind in KINDS:
        present, depth, place = random.random() < rates[kind], random.uniform(0.25, 0.7), random.uniform(-0.12, 0.12)
        radius, contrast, form = random.uniform(13, 20), random.uniform(0.8, 1.2), int(random.integers(2**31))
        if not present:
            continue
        at = float(heights.pop()) + place if kind != "Suspicious Lymph Node" else 0.0
        found.append(Lesion(kind, depth, {"CC": at, "MLO": at * 0.8 + 0.1}, radius, contrast, form))
    return found
