"""What is known of a picture: the concepts in it, and the shares that they cover."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from omnisae_datasets.shapes.scene import COLOURS, CONCEPTS, Scene, Thing

LEAST_PIXELS = 12
"""An object of which fewer pixels are seen counts as not there."""


@dataclass(frozen=True, slots=True)
class Truth:
    """`seen` holds the objects in sight by their instance; `attributes` a number for each column of the table."""

    seen: dict[int, Thing]
    pixels: dict[int, int]
    attributes: dict[str, float]

    @property
    def class_name(self) -> str:
        """The shape of the object of which most is seen."""
        return self.seen[max(self.pixels, key=lambda instance: (self.pixels[instance], -instance))].shape


def truth(scene: Scene, mask: UInt8[np.ndarray, "y x"]) -> Truth:
    """What is in sight. Presence columns are named `has_<concept>`; `covered` and `<colour>_share` are fractions."""
    counts = np.bincount(mask.reshape(-1), minlength=len(scene.things) + 1)
    pixels = {i: int(counts[i]) for i in range(1, len(scene.things) + 1) if counts[i] >= LEAST_PIXELS}
    seen = {i: scene.things[i - 1] for i in pixels}
    words = {word for thing in seen.values() for word in (thing.colour, thing.shape, thing.texture)}
    attributes: dict[str, float] = {f"has_{concept}": float(concept in words) for concept in CONCEPTS}
    attributes["covered"] = sum(pixels.values()) / mask.size
    for colour in COLOURS:
        attributes[f"{colour}_share"] = sum(n for i, n in pixels.items() if seen[i].colour == colour) / mask.size
    return Truth(seen, pixels, attributes)
