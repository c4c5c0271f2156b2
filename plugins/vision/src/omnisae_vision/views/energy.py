"""The visualizer `vision.class_energy`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from omnisae import svg
from omnisae.extract.dataset import Dataset
from omnisae.extract.split import SELECT, TEST
from omnisae.report.visualizer import Drawing, Figure, LatentView, Visualizer
from omnisae.report.visualizers.measures import Classes
from omnisae.report.visualizers.once import Once
from omnisae.report.words import clip, percent, whole
from omnisae_vision.attributes import NOT_KNOWN

WIDTH = 420
LEFT, RIGHT, TOP, ROW = 158, 60, 10, 22
FEWEST = 3
"""Test pictures that a class must have to be shown."""
NORMAL = 1.96


@dataclass(frozen=True, slots=True)
class Energy:
    """A class's share of a latent's summed strength on test, its share of the pictures (what a latent that follows no
    class would have), and half of the width within which 95 of 100 shufflings of the classes lie."""

    name: str
    share: float
    control: float
    band: float
    n: int


class ClassEnergy(Visualizer):
    """A bar for every class: the share of the latent's summed strength (its largest value in each picture) that falls
    into pictures of the class."""

    def __init__(self, column: str | None, bars: int) -> None:
        self.column, self.bars = column, bars
        self._classes: Once[tuple[str, Classes] | None] = Once(self._read)

    def title(self) -> str:
        return "Energy by class"

    def applies(self, view: LatentView) -> bool:
        return self._classes(view.dataset) is not None

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        found = self._classes(view.dataset)
        if found is None:
            return ()
        column, classes = found
        energies, n, left_out = shares(classes, view.strength, view.known(SELECT), view.known(TEST), self.bars)
        if not energies:
            return ()
        rest = f" The other {whole(left_out)} classes are left out." if left_out else ""
        caption = (
            f"How the latent's strength, summed over n = {whole(n)} test pictures, is shared out by {column}; ranked "
            f"on select pictures. Line: the class's share of these pictures, as a latent that follows no class would "
            f"have it; band: 95 of 100 shufflings of the classes.{rest}"
        )
        spoken = ", ".join(f"{one.name} {percent(one.share)} (pictures {percent(one.control)})" for one in energies)
        alt = f"Share of summed strength by {column}: {spoken}"
        return [Figure("text/html", _draw(energies, alt), caption, alt, f"Energy by {column}")]

    def _read(self, dataset: Dataset) -> tuple[str, Classes] | None:
        columns: Mapping[str, Sequence[str]] = dataset.labels()
        name = self.column or ("class" if "class" in columns else next(iter(columns), None))
        return (name, Classes.of(columns[name])) if name is not None and name in columns else None


def shares(
    classes: Classes,
    strength: Float[np.ndarray, " example"],
    select: Bool[np.ndarray, " example"],
    test: Bool[np.ndarray, " example"],
    most: int,
) -> tuple[list[Energy], int, int]:
    """The classes' shares in the order of those on select, how many test pictures they are of, and how many classes are
    left out. Pictures whose class is not known count for nothing.

    Under shuffled classes, the strengths of a class's n of N pictures are a sample without replacement: their sum has
    the variance n (N − n) / (N − 1) · var(strength).
    """
    named = np.array([name.strip() not in ("", NOT_KNOWN) for name in classes.names], dtype=bool)
    known = named[classes.which]
    size = len(classes.names)
    sides = [side & known for side in (select, test)]
    counts = [np.bincount(classes.which[side], minlength=size) for side in sides]
    sums = [np.bincount(classes.which[side], weights=strength[side], minlength=size) for side in sides]
    values = np.asarray(strength[sides[1]], dtype=np.float64)
    n, total = len(values), float(values.sum())
    if total <= 0:
        return [], n, 0
    fit = np.flatnonzero(named & (counts[1] >= FEWEST))
    order = fit[np.argsort(-sums[0][fit], kind="stable")]
    found = []
    for i in order[:most].tolist():
        own = int(counts[1][i])
        spread = math.sqrt(own * (n - own) / max(n - 1, 1) * float(values.var()))
        found.append(Energy(classes.names[i], float(sums[1][i]) / total, own / n, NORMAL * spread / total, own))
    return found, n, max(len(order) - most, 0)


def _draw(energies: Sequence[Energy], alt: str) -> bytes:
    height = TOP + ROW * len(energies) + 8
    high = max(max(one.share, one.control + one.band) for one in energies)
    inner = WIDTH - LEFT - RIGHT

    def across(value: float) -> float:
        return LEFT + inner * max(value, 0.0) / high

    bars, marks, words = [], [], []
    for i, one in enumerate(energies):
        y = TOP + ROW * i
        tip = f"{one.name}: {percent(one.share)} of the strength, {percent(one.control)} of the pictures, n = {one.n}"
        low, top = across(one.control - one.band), across(one.control + one.band)
        bars.append(svg.rect(LEFT, y + 4, max(across(one.share) - LEFT, 1), ROW - 11, kind="bar", tip=tip))
        marks.append(svg.rect(low, y, max(top - low, 1), ROW - 3, kind="band"))
        marks.append(svg.line(across(one.control), y - 1, across(one.control), y + ROW - 2, kind="control"))
        words.append(svg.text(LEFT - 8, y + 13, clip(one.name, 16), anchor="end", kind="label"))
        words.append(svg.text(max(across(one.share), top) + 5, y + 13, percent(one.share)))
    axis = svg.line(LEFT, TOP - 4, LEFT, height - 4, kind="axis")
    return svg.drawing(WIDTH, height, [*bars, *marks, axis, *words], alt=alt)
