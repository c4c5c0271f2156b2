"""Ranked bars: the classes and the features of the dataset that go with a latent.

Ranks come from the select examples and lengths from the test examples, so that no bar is long by luck alone.
"""

from collections.abc import Sequence

from omnisae import svg
from omnisae.extract.split import SELECT, TEST
from omnisae.report.visualizer import Drawing, Figure, LatentView, Visualizer
from omnisae.report.visualizers.measures import Classes, Contrasts, Ranked, classes
from omnisae.report.visualizers.once import Once
from omnisae.report.words import clip, short, whole

WIDTH = 420
_LEFT, _RIGHT, _TOP, _ROW = 158, 56, 18, 22


class Bars(Visualizer):
    """For every categorical column: the latent's mean strength by class, with the mean over all examples as control.
    For the dataset's features: how much higher they are where the latent is strongest, in standard deviations."""

    def __init__(self, bars: int = 12, top: int = 200) -> None:
        self.bars = bars
        self._contrasts = Contrasts(top)
        self._columns_of = Once(lambda dataset: {name: Classes.of(column) for name, column in dataset.labels().items()})
        self._table_of = Once(lambda dataset: dataset.features())

    def title(self) -> str:
        return "What goes with it"

    def applies(self, view: LatentView) -> bool:
        return bool(self._columns_of(view.dataset)) or self._table_of(view.dataset) is not None

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        select, test = view.known(SELECT), view.known(TEST)
        drawings: list[Drawing] = []
        for column, labels in self._columns_of(view.dataset).items():
            ranked = classes(labels, view.strength, select, test, self.bars)
            if ranked is not None:
                drawings.append(self._classes(column, ranked))
        features = self._table_of(view.dataset)
        if features is not None:
            ranked = self._contrasts.rank(features, view.strength, select, test, self.bars)
            if ranked is not None:
                drawings.append(self._features(features.noun, ranked))
        return drawings

    def _classes(self, column: str, ranked: Ranked) -> Figure:
        left_out = f" The {ranked.left_out} weakest classes are left out." if ranked.left_out else ""
        caption = (
            f"Mean strength by {column}, ranked on select examples, measured on n = {whole(ranked.n)} test examples. "
            f"Line: the mean over all of them, {short(ranked.control)}.{left_out}"
        )
        alt = f"Mean strength by {column}: " + _spoken(ranked) + f"; over all examples {short(ranked.control)}"
        return Figure("text/html", self._draw(ranked, alt), caption, alt, f"Strength by {column}")

    def _features(self, noun: str, ranked: Ranked) -> Figure:
        caption = (
            f"The {noun}s that differ most between the {whole(ranked.n)} test examples in which it is strongest and "
            f"the other {whole(ranked.rest)}, in standard deviations; ranked on select examples. Band: what as many "
            "random examples give in 95 of 100 draws."
        )
        alt = f"Difference by {noun} in standard deviations: " + _spoken(ranked)
        return Figure(
            "text/html", self._draw(ranked, alt, band=ranked.control), caption, alt, f"The {noun}s that go with it"
        )

    def _draw(self, ranked: Ranked, alt: str, band: float = 0.0) -> bytes:
        height = _TOP + _ROW * len(ranked.names) + 8
        low, high = min(0.0, *ranked.values, -band), max(*ranked.values, ranked.control, 1e-12)
        inner = WIDTH - _LEFT - _RIGHT

        def across(value: float) -> float:
            return _LEFT + inner * (value - low) / (high - low)

        parts, words = [], []
        if band:
            parts.append(svg.rect(across(-band), _TOP - 4, across(band) - across(-band), height - _TOP, kind="band"))
        for i, (name, value, n) in enumerate(zip(ranked.names, ranked.values, ranked.counts, strict=True)):
            y = _TOP + _ROW * i
            start, stop = sorted((across(0.0), across(value)))
            tip = f"{name}: {short(value)}" + (f", n = {whole(n)}" if n else "")
            words.append(svg.text(_LEFT - 8, y + 13, clip(name, 20), anchor="end", kind="label"))
            parts.append(svg.rect(start, y + 2, max(stop - start, 1), _ROW - 7, kind="bar", tip=tip))
            words.append(svg.text(max(stop, across(0.0)) + 5, y + 13, short(value)))
            if n:
                words.append(
                    svg.text(_LEFT + 4, y + 12.5, f"n {whole(n)}", kind="inside" if stop - start > 52 else "hidden")
                )
        parts.append(svg.line(across(0.0), _TOP - 4, across(0.0), height - 4, kind="axis"))
        if not band:
            parts.append(svg.line(across(ranked.control), _TOP - 8, across(ranked.control), height - 4, kind="control"))
        return svg.drawing(WIDTH, height, parts + words, alt=alt)


def _spoken(ranked: Ranked) -> str:
    return ", ".join(f"{name} {short(value)}" for name, value in zip(ranked.names, ranked.values, strict=True))
