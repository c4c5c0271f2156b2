"""The visualizer `galaxies.sky`: where on the sky a latent fires."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int, UInt8

from omnisae.report.scale import SILENT, table
from omnisae.report.visualizer import Drawing, Figure, LatentView, Visualizer
from omnisae.report.visualizers.once import Once
from omnisae.report.words import percent, short, whole
from omnisae_galaxies import draw, sky_frame
from omnisae_galaxies.sky_frame import Points

APART = 60.0
"""Degrees from which on the whole sky is shown."""
DOT, FAINT = 4.0, 2.0
"""Radii of dots in pixels: where the latent fires, and where it is silent."""


@dataclass(frozen=True)
class Frame:
    """What is the same for all latents: the galaxies that are drawn, of how many that were scored, their places on the
    canvas, and the axes."""

    rows: Int[np.ndarray, " row"]
    scored: int
    at: Points
    canvas: UInt8[np.ndarray, "y x 3"]


class Sky(Visualizer):
    """Every dot is a galaxy at its right ascension (which grows to the left, as on the sky) and declination; its colour
    is the latent's strength, grey where it is silent."""

    def __init__(self, points: int, projection: Literal["auto", "plain", "mollweide"]) -> None:
        self.points, self.projection = points, projection
        self._places = Once(lambda dataset: np.asarray(getattr(dataset, "positions", np.zeros((0, 2)))))
        self._frame: tuple[bytes, Frame] | None = None

    def title(self) -> str:
        return "On the sky"

    def applies(self, view: LatentView) -> bool:
        places = self._places(view.dataset)
        return len(places) == len(view.strength) and bool(np.isfinite(places).all(axis=1).any())

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        frame = self._framed(view)
        if not len(frame.rows):
            return []
        values = view.strength[frame.rows]
        share = np.clip(values / view.ceiling, 0, 1) if view.ceiling > 0 else np.zeros(len(values))
        inks = np.where((values > 0)[:, None], table()[np.round(share * 255).astype(int)], _rgb(SILENT))
        canvas = frame.canvas.copy()
        silent, fires = np.flatnonzero(values <= 0), np.flatnonzero(values > 0)
        fires = fires[np.argsort(values[fires], kind="stable")]
        dots(canvas, frame.at[silent], inks[silent], FAINT)
        dots(canvas, frame.at[fires], inks[fires], DOT)
        part = f", a random part of {whole(frame.scored)}" if frame.scored > len(values) else ""
        caption = (
            f"{whole(len(values))} scored galaxies with a known place{part}; it fires in {whole(len(fires))} "
            f"({percent(len(fires) / len(values))}), the others are grey. Colours end at {short(view.ceiling)}."
        )
        alt = f"Map of the sky with {whole(len(values))} galaxies, of which the latent fires in {whole(len(fires))}"
        return [Figure("image/png", draw.png(canvas), caption, alt, "Right ascension and declination")]

    def _framed(self, view: LatentView) -> Frame:
        places = self._places(view.dataset)
        known = view.known() & np.isfinite(places).all(axis=1)
        key = known.tobytes()
        if self._frame is None or self._frame[0] != key:
            rows = np.flatnonzero(known)
            scored = len(rows)
            if scored > self.points:  # the same part for every latent, so that pages can be compared
                rows = np.sort(np.random.default_rng(0).permutation(rows)[: self.points])
            wide = self.projection == "mollweide" or (
                self.projection == "auto" and scored > 0 and sky_frame.extent(places[rows]) > APART
            )
            canvas, at = sky_frame.whole(places[rows]) if wide else sky_frame.plain(places[rows])
            self._frame = (key, Frame(rows, scored, at, np.asarray(canvas)))
        return self._frame[1]


def dots(canvas: UInt8[np.ndarray, "y x 3"], at: Points, inks: UInt8[np.ndarray, "point 3"], radius: float) -> None:
    """Paint round dots, the later ones over the earlier ones; what lies beyond the canvas is left out."""
    reach = int(np.ceil(radius))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = dy**2 + dx**2 <= radius**2
    y = np.round(at[:, 1]).astype(int)[:, None] + dy[inside]
    x = np.round(at[:, 0]).astype(int)[:, None] + dx[inside]
    seen = (y >= 0) & (y < canvas.shape[0]) & (x >= 0) & (x < canvas.shape[1])
    owner = np.broadcast_to(np.arange(len(at))[:, None], y.shape)[seen]
    canvas[y[seen], x[seen]] = inks[owner]


def _rgb(code: str) -> UInt8[np.ndarray, "3"]:
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.uint8)
