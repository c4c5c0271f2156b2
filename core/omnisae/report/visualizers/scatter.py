"""The dataset's own maps of its examples, coloured by a latent."""

from collections.abc import Sequence

import numpy as np

from omnisae.report.visualizer import Drawing, LatentView, Scatter, Visualizer
from omnisae.report.visualizers.once import Once
from omnisae.report.words import percent, plural, short, whole


class Map(Visualizer):
    """Every point is an example; its colour is the latent's largest value in it, grey where it is silent."""

    def __init__(self, points: int = 4000) -> None:
        self.points = points
        self._maps = Once(lambda dataset: dataset.embeddings())

    def title(self) -> str:
        return "Where it fires among the examples"

    def applies(self, view: LatentView) -> bool:
        return bool(self._maps(view.dataset))

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        rows = np.flatnonzero(view.known())
        if len(rows) > self.points:
            # The same part for every latent, so that pages can be compared and share their points.
            rows = np.sort(np.random.default_rng(0).permutation(rows)[: self.points])
        values = view.strength[rows]
        firing = int((values > 0).sum())
        part = "" if len(rows) == int(view.known().sum()) else f" (a random part of {whole(int(view.known().sum()))})"
        drawings = []
        for name, points in self._maps(view.dataset).items():
            caption = (
                f"{name}: {plural(len(rows), 'scored example')}{part}, firing in {whole(firing)} "
                f"({percent(firing / max(len(rows), 1))}); silent ones grey. Colours end at {short(view.ceiling)}."
            )
            alt = f"Map {name} of {plural(len(rows), 'example')}; the latent fires in {whole(firing)} of them"
            drawings.append(
                Scatter(np.asarray(points, dtype=np.float32)[rows], values, caption, alt, f"On the map {name}")
            )
        return drawings
