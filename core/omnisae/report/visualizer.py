"""Visualizers: drawings of one latent, matched by the axes of its tokens."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from omnisae.figure import Figure as Figure
from omnisae.hooks.point import HookPoint
from omnisae.postings.poles import Sign

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor


@dataclass(frozen=True, slots=True)
class Firing:
    """Where one latent fires within one example: coordinates on the hook point's axes and values (raw units).

    Special tokens have the coordinates −1.
    """

    row: int
    coords: Int[np.ndarray, "entry axis"]
    values: Float[np.ndarray, " entry"]
    sizes: Mapping[str, int]
    """The number of steps of this example along each axis, in the order of `coords`."""


def _empty(dtype: type) -> np.ndarray:
    return np.zeros(0, dtype=dtype)


@dataclass(frozen=True, slots=True)
class LatentView:
    """All that a visualizer may look at. `ceiling` is the latent's largest value over the scored data: the one colour
    scale of all its drawings. `strength` is its largest value in every example (0 where it is silent). `scored` tells
    which examples were scored: the others are unknown, not silent. `split` is every example's side (extract.split);
    both are empty where all examples were scored and no split is known. `values` are all of the latent's values above
    zero, out of `tokens` scored tokens. `sign` is that of the codes that are drawn where codes are signed, else None:
    with −1, all values are magnitudes of negative codes. `firing_in` tells where the latent fires in any other scored
    example, for drawings of several examples together; None where only strengths are known.
    """

    latent: int
    hook: HookPoint
    ceiling: float
    strength: Float[np.ndarray, " example"]
    dataset: "Dataset"
    extractor: "Extractor"
    scored: Bool[np.ndarray, " example"] = field(default_factory=lambda: _empty(bool))
    split: UInt8[np.ndarray, " example"] = field(default_factory=lambda: _empty(np.uint8))
    values: Float[np.ndarray, " entry"] = field(default_factory=lambda: _empty(np.float32))
    tokens: int = 0
    sign: Sign | None = None
    firing_in: Callable[[int], Firing] | None = None

    def known(self, side: int | None = None) -> Bool[np.ndarray, " example"]:
        """The examples that were scored; of one side of the split where one is named and the split is known."""
        known = self.scored if len(self.scored) else np.ones(len(self.strength), dtype=bool)
        return known & (self.split == side) if side is not None and len(self.split) else known


@dataclass(frozen=True, slots=True)
class Heat:
    """Values on a grid of tokens (raw units, 0 where silent), which the page lays over the plain picture of example
    `row`, on the latent's one colour scale, with the plain picture beside it and every token's value at hand."""

    values: Float[np.ndarray, "y x"]
    row: int
    caption: str = ""
    alt: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Scatter:
    """Points on a plane, which the page colours by `values` (raw units, 0 where silent) on the latent's one scale."""

    points: Float[np.ndarray, "point 2"]
    values: Float[np.ndarray, " point"]
    caption: str = ""
    alt: str = ""
    title: str = ""


Drawing = Figure | Heat | Scatter


class Visualizer(ABC):
    """Draws a latent over one example (`draw_example`), over the whole dataset (`draw_latent`), or both."""

    axes: frozenset[str] = frozenset()
    """The axes a hook point must have for this to be of use; empty: any."""

    pictures: ClassVar[bool] = False
    """Whether it returns Heat: the examples' plain pictures are then prepared beforehand, each once."""

    def applies(self, view: LatentView) -> bool:
        """Whether this latent can be drawn. Default: the axes match."""
        return self.axes <= set(view.hook.axes)

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        """The latent over one example, the plain example beside it. Default: nothing."""
        return ()

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        """The latent over the dataset. Default: nothing."""
        return ()

    @abstractmethod
    def title(self) -> str:
        """The heading over the drawings."""
