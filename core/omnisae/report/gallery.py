"""The pictures of latents: chosen examples, drawn by every visualizer that applies, one chunk a latent."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from omnisae.config import ReportConfig
from omnisae.report import chunks
from omnisae.report.choose import Chosen, examples
from omnisae.report.drawn import Drawer, example_facts
from omnisae.report.latents import Entries, Latents
from omnisae.report.shelf import Shelf
from omnisae.report.visualizer import Drawing, Firing, LatentView, Visualizer

FOLDER = 1000
"""Latents' chunks in one folder."""


class Gallery:
    """Draws latents. A visualizer that raises is left out from then on, and `broken` says why: the others go on."""

    def __init__(
        self, latents: Latents, visualizers: Mapping[str, Visualizer], config: ReportConfig, folder: Path, workers: int
    ) -> None:
        self._latents, self._visualizers, self._config = latents, dict(visualizers), config
        self._folder, self._workers = folder, workers
        self.shelf = Shelf(latents.dataset, latents.extractor, folder)
        self._drawer = Drawer(folder, self.shelf)
        self._labels = dict(latents.dataset.labels())
        self._ids = latents.dataset.ids
        self._scored = latents.scored
        self.broken: dict[str, str] = {}

    def write(self, pictured: Int[np.ndarray, " picked"]) -> None:
        """Write the chunks of these latents. Every example that is shown is read once."""
        chosen = {latent: self._choose(latent) for latent in pictured.tolist()}
        if any(visualizer.pictures for visualizer in self._visualizers.values()):
            self.shelf.prepare((row for one in chosen.values() for row in one.rows), self._workers)
        for latent, one in chosen.items():
            name = f"pages/{latent // FOLDER}/{latent}"
            chunks.write(self._folder, name, self._page(latent, one))

    def _choose(self, latent: int) -> Chosen:
        strength = self._latents.strength(self._latents.entries(latent))
        return examples(strength, top=self._config.examples, random=self._config.random_examples, seed=latent)

    def _page(self, latent: int, chosen: Chosen) -> dict[str, Any]:
        entries = self._latents.entries(latent)
        view = self._latents.view(latent, entries, self._scored)
        split = np.asarray(self._latents.postings.split)
        return {
            "ceiling": view.ceiling,
            "firing": chosen.firing,
            "top": chosen.top,
            "bands": [{"low": b.low, "high": b.high, "n": b.n, "rows": b.rows} for b in chosen.bands],
            "examples": {
                row: example_facts(self._ids, self._labels, split, row) | {"strength": float(view.strength[row])}
                for row in chosen.rows
            },
            "drawings": self._drawings(view, entries, chosen.rows),
        }

    def _drawings(self, view: LatentView, entries: Entries, rows: Sequence[int]) -> list[dict[str, Any]]:
        found = []
        firings = {row: self._latents.firing(entries, row) for row in rows}
        for name, visualizer in list(self._visualizers.items()):
            try:
                drawn = self._draw(visualizer, view, firings)
            except Exception as error:  # a plug-in's fault must not cost the user the report
                self.broken[name] = f"{type(error).__name__}: {error}"
                del self._visualizers[name]
                continue
            if drawn is not None:
                found.append(drawn)
        return found

    def _draw(self, visualizer: Visualizer, view: LatentView, firings: Mapping[int, Firing]) -> dict[str, Any] | None:
        if not visualizer.applies(view):
            return None
        by_row = {row: self._put(visualizer.draw_example(view, firing)) for row, firing in firings.items()}
        by_row = {row: drawings for row, drawings in by_row.items() if drawings}
        whole = self._put(visualizer.draw_latent(view))
        return {"title": visualizer.title(), "examples": by_row, "latent": whole} if by_row or whole else None

    def _put(self, drawings: Iterable[Drawing]) -> list[dict[str, Any]]:
        return [self._drawer.put(drawing) for drawing in drawings]
