"""Visualizers: drawings of one latent, matched by the axes of its tokens."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from omnisae.hooks.point import HookPoint

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor


@dataclass(frozen=True, slots=True)
class Firing:
    """Where one latent fires within one example: coordinates on the hook point's axes and values (raw units)."""

    row: int
    coords: Int[np.ndarray, "entry axis"]
    values: Float[np.ndarray, " entry"]
    sizes: Mapping[str, int]
    """The number of steps of this example along each axis."""


@dataclass(frozen=True, slots=True)
class LatentView:
    """All that a visualizer may look at. `ceiling` is the latent's largest value over the scored data: the one colour
    scale of all its drawings. `strength` is its largest value in every example (0 where it is silent), `shown` tells which
    examples were scored."""

    latent: int
    hook: HookPoint
    ceiling: float
    strength: Float[np.ndarray, " example"]
    dataset: "Dataset"
    extractor: "Extractor"


@dataclass(frozen=True, slots=True)
class Figure:
    """One drawing. `data` are the file's bytes (PNG, JPEG, SVG text) or an HTML fragment whose text is escaped.

    `caption` says what is shown, with its n; `alt` says it for a screen reader."""

    media: Literal["image/png", "image/jpeg", "image/svg+xml", "text/html"]
    data: bytes
    caption: str = ""
    alt: str = ""


class Visualizer(ABC):
    """Draws a latent over one example (`draw_example`), over the whole dataset (`draw_latent`), or both."""

    axes: frozenset[str] = frozenset()
    """The axes a hook point must have for this to be of use; empty: any."""

    def applies(self, view: "LatentView") -> bool:
        """Whether this latent can be drawn. Default: the axes match."""
        return self.axes <= set(view.hook.axes)

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Figure]:
        """The latent over one example, the plain example beside it. Default: nothing."""
        return ()

    def draw_latent(self, view: LatentView) -> Sequence[Figure]:
        """The latent over the dataset. Default: nothing."""
        return ()

    @abstractmethod
    def title(self) -> str:
        """The heading over the drawings."""


Json = dict[str, Any]
