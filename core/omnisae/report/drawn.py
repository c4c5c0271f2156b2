"""Drawings as the page reads them: numbers in the chunk, files in `figures/`, points shared by all latents."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from omnisae.report import chunks
from omnisae.report.shelf import Shelf
from omnisae.report.visualizer import Drawing, Figure, Heat, Scatter

_SUFFIX = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}


class Drawer:
    """Turns drawings into what a chunk holds, and writes what they need beside it."""

    def __init__(self, folder: Path, shelf: Shelf) -> None:
        self._folder = folder
        self._shelf = shelf
        self._points: set[str] = set()

    def put(self, drawing: Drawing) -> dict[str, Any]:
        """One drawing."""
        words = {"caption": drawing.caption, "alt": drawing.alt, "title": drawing.title}
        if isinstance(drawing, Heat):
            return words | self._heat(drawing)
        if isinstance(drawing, Scatter):
            return words | self._scatter(drawing)
        return words | self._figure(drawing)

    def _figure(self, figure: Figure) -> dict[str, Any]:
        if figure.media == "text/html":
            return {"kind": "html", "html": figure.data.decode()}
        name = hashlib.sha256(figure.data).hexdigest()[:24]
        path = self._folder / "figures" / name[:2] / f"{name}.{_SUFFIX[figure.media]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(figure.data)
        return {"kind": "file", "src": path.relative_to(self._folder).as_posix()}

    def _heat(self, heat: Heat) -> dict[str, Any]:
        picture = self._shelf.picture(heat.row)
        plain = None if picture is None else {"src": picture.src, "width": picture.width, "height": picture.height}
        tall, wide = heat.values.shape
        return {"kind": "heat", "rows": tall, "columns": wide, "picture": plain} | _sparse(heat.values.ravel())

    def _scatter(self, scatter: Scatter) -> dict[str, Any]:
        points = np.asarray(scatter.points, dtype=np.float64)
        name = hashlib.sha256(points.tobytes()).hexdigest()[:16]
        if name not in self._points:
            chunks.write(self._folder, f"points/{name}", _unit(points).round(4))
            self._points.add(name)
        return {"kind": "scatter", "points": f"points/{name}"} | _sparse(scatter.values)


def _sparse(values: Float[np.ndarray, " cell"]) -> dict[str, np.ndarray]:
    at = np.flatnonzero(values > 0)
    return {"at": at, "v": values[at]}


def _unit(points: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
    """The points within the unit square, both axes on one scale, y upwards; unknown places stay NaN."""
    known = points[np.isfinite(points).all(axis=1)]
    if not len(known):
        return np.full_like(points, np.nan)
    low, high = known.min(axis=0), known.max(axis=0)
    span = float((high - low).max()) or 1.0
    inside: Float[np.ndarray, "point 2"] = (points - (low + high) / 2) / span + 0.5
    inside[:, 1] = 1.0 - inside[:, 1]
    inside[~np.isfinite(inside).all(axis=1)] = np.nan
    return inside


def example_facts(ids: Sequence[str], labels: dict[str, Sequence[str]], split: np.ndarray, row: int) -> dict[str, Any]:
    """What the page says of an example: its id, its side of the split and the first labels that the dataset offers."""
    shown = {column: str(values[row]) for column, values in list(labels.items())[:2]}
    return {"id": str(ids[row]), "side": int(split[row]), "labels": shown}
