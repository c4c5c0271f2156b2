"""Sheets: one figure for a latent, made of several of its pictures."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from omnisae import svg
from omnisae.report.visualizer import Drawing, Figure, Firing, LatentView, Visualizer
from omnisae.report.words import plural, whole
from omnisae_vision.views.frames import Frame, Frames

WIDTH = 420.0
"""The width of a figure, in units of its own; the page scales it."""
GAP = 6.0
TEXT = 14.0
"""The height of a line of text."""

Seen = tuple[Firing, Frame]


class Sheet(Visualizer):
    """Draws over the dataset what fires in the examples that stand on the latent's page: these come first, one by one
    (`draw_example`), and make the figure together (`draw_latent`)."""

    axes = frozenset({"y", "x"})
    pictures: ClassVar[bool] = True

    def __init__(self, examples: int) -> None:
        self._examples = examples
        self._frames = Frames()
        self._view: LatentView | None = None
        self._seen: dict[int, Firing] = {}

    def applies(self, view: LatentView) -> bool:
        return super().applies(view) and self._frames.any(view)

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        if self._view is not view:
            self._view, self._seen = view, {}
        self._seen[firing.row] = firing
        return ()

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        seen = self._seen if self._view is view else {}
        self._view, self._seen = None, {}
        order = sorted(seen.values(), key=lambda firing: (-_strongest(firing), firing.row))
        found = [(firing, self._frames.of(view, firing.row)) for firing in order if _strongest(firing) > 0]
        shown = [(firing, frame) for firing, frame in found if frame is not None]
        return [self.sheet(view, shown[: self._examples])] if shown else []

    @abstractmethod
    def sheet(self, view: LatentView, shown: Sequence[Seen]) -> Figure:
        """The figure, of the strongest pictures first."""


def strongest_of(view: LatentView, shown: int) -> str:
    """Which pictures are drawn, in words with their number."""
    of = plural(int((view.strength > 0).sum()), "picture")
    return f"{'The' if shown > 1 else 'Its'} {whole(shown)} strongest of {of} in which it fires, select and test"


def panel(x: float, y: float, width: float, height: float, box: str, inside: str) -> str:
    """A part of a figure with a view of its own, which what is inside does not leave."""
    place = f'x="{svg.number(x)}" y="{svg.number(y)}" width="{svg.number(width)}" height="{svg.number(height)}"'
    return f'<svg {place} viewBox="{box}" preserveAspectRatio="none" style="overflow:hidden">{inside}</svg>'


def fitted(frames: Sequence[Frame], columns: int) -> tuple[float, float]:
    """The width and height of panels in so many columns, with the first picture's proportions."""
    width = (WIDTH - GAP * (columns - 1)) / columns
    return width, width * frames[0].height / frames[0].width


def _strongest(firing: Firing) -> float:
    """The largest value at a place of the picture; special tokens have none."""
    placed = (firing.coords >= 0).all(axis=1)
    return float(np.max(firing.values[placed], initial=0.0))
