"""The visualizer `protein.residues`: a sequence in lines, each residue coloured by the latent, annotations beneath."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from omnisae import svg
from omnisae.report.scale import colour
from omnisae.report.visualizer import Drawing, Figure, Firing, LatentView, Visualizer
from omnisae.report.words import plural, short
from omnisae_protein.dataset import AXIS, Proteins
from omnisae_protein.features import Feature

CELL, TALL, LANE = 11.0, 17.0, 10.0
LEFT, RIGHT = 128.0, 34.0
MOST_LINES, MOST_LANES = 6, 5
NAME = 22
"""Letters of a concept's name that fit beside its lane."""


class Residues(Visualizer):
    """One cell a residue with its letter; below, a lane for every annotated concept."""

    axes = frozenset({AXIS})

    def __init__(self, columns: int) -> None:
        self._columns = columns

    def title(self) -> str:
        return "Residues"

    def applies(self, view: LatentView) -> bool:
        return super().applies(view) and isinstance(view.dataset, Proteins)

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        dataset = view.dataset
        assert isinstance(dataset, Proteins)
        sequence = dataset.sequence(firing.row)
        values = np.zeros(len(sequence))
        placed = firing.coords[:, view.hook.axes.index(AXIS)]
        values[placed[placed >= 0]] = firing.values[placed >= 0]
        features = dataset.features_of(firing.row)
        lines = _lines(values, self._columns)
        parts, y = [], 4.0
        for start in lines:
            drawn, y = _line(sequence, values, features, start, self._columns, y, view.ceiling)
            parts += drawn
        strongest = np.argsort(-values, kind="stable")[:3]
        where = ", ".join(f"{sequence[i]}{i + 1} ({short(float(values[i]))})" for i in strongest if values[i] > 0)
        count = -(-len(sequence) // self._columns)
        kept = f"; {len(lines)} of {count} lines, the strongest" if len(lines) < count else ""
        alt = f"fires on {int((values > 0).sum())} of {plural(len(sequence), 'residue')}" + (
            f"; strongest at {where}" if where else ""
        )
        caption = f"{alt}{kept}. Colours end at {short(view.ceiling)}, the latent's largest value"
        width = LEFT + self._columns * CELL + RIGHT
        return [Figure("text/html", svg.drawing(width, y + 2, parts, alt=alt), caption, alt)]


def _lines(values: Float[np.ndarray, " residue"], columns: int) -> list[int]:
    """The first residues of the lines that are drawn: all, or those where the latent is strongest."""
    starts = np.arange(0, len(values), columns)
    if len(starts) <= MOST_LINES:
        return [int(start) for start in starts]
    strength = np.array([values[start : start + columns].max() for start in starts])
    chosen = np.sort(np.argsort(-strength, kind="stable")[:MOST_LINES])
    return [int(start) for start in starts[chosen]]


def _line(
    sequence: str,
    values: Float[np.ndarray, " residue"],
    features: Sequence[Feature],
    start: int,
    columns: int,
    y: float,
    ceiling: float,
) -> tuple[list[str], float]:
    """The parts of one line from height y on, and the height below it."""
    stop = min(start + columns, len(sequence))
    parts = [svg.text(LEFT - 6, y + 13, str(start + 1), anchor="end")]
    for i in range(start, stop):
        x = LEFT + (i - start) * CELL
        share = min(float(values[i]) / ceiling, 1.0) if ceiling > 0 else 0.0
        if share > 0:
            tip = f"{sequence[i]}{i + 1}: {short(float(values[i]))}"
            parts.append(svg.rect(x, y, CELL, TALL, kind="level", fill=colour(share), tip=tip))
        # On a coloured cell the letter keeps to the cell's colour scale, which is dark below and light above.
        parts.append(_letter(x + CELL / 2, y + 13, sequence[i], share))
    parts.append(svg.text(LEFT + columns * CELL + 6, y + 13, str(stop)))
    y += TALL + 2
    here = [one for one in features if one.start < stop and one.stop > start]
    lanes = list(dict.fromkeys(one.concept for one in here))
    for name in lanes[:MOST_LANES]:
        told = name if len(name) <= NAME else name[: NAME - 1] + "…"
        parts.append(svg.text(LEFT - 6, y + LANE - 1, told, anchor="end"))
        for one in (one for one in here if one.concept == name):
            for first, last in one.spans():
                if first < stop and last > start:
                    x = LEFT + (max(first, start) - start) * CELL
                    wide = (min(last, stop) - max(first, start)) * CELL
                    tip = f"{name} {first + 1}–{last}"
                    parts.append(svg.rect(x + 0.5, y + 1, wide - 1, LANE - 3, kind="bar", tip=tip))
        y += LANE + 2
    if len(lanes) > MOST_LANES:
        parts.append(svg.text(LEFT - 6, y + LANE - 1, f"and {len(lanes) - MOST_LANES} more", anchor="end"))
        y += LANE + 2
    return parts, y + 6


def _letter(x: float, y: float, letter: str, share: float) -> str:
    if share == 0:
        return svg.text(x, y, letter, anchor="middle", kind="label")
    ink = "#111" if share > 0.45 else "#fff"
    place = f'x="{svg.number(x)}" y="{svg.number(y)}"'
    return f'<text {place} text-anchor="middle" style="fill:{ink};font-size:11px;font-weight:600">{letter}</text>'
