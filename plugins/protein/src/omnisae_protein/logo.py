"""The visualizer `protein.logo`: which residues stand around the places where a latent is strongest."""

import html
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from omnisae import svg
from omnisae.extract.split import TEST
from omnisae.report.visualizer import Drawing, Figure, LatentView, Visualizer
from omnisae_protein.dataset import AXIS, Proteins

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
GROUPS = {"AVLIMFWC": "#8a6d1f", "KRH": "#2456b0", "DE": "#b0303a", "STNQ": "#2c7a3f", "GPY": "#7a3fa0"}
"""Colours by chemistry; the letters themselves tell residues apart."""
CELL, TALL, LEFT, TOP = 22.0, 120.0, 34.0, 10.0
FEWEST, DRAWS = 5, 20


class Logo(Visualizer):
    """Relative entropy by place (Schneider & Stephens 1990, against the dataset's own frequencies): the height of a
    letter is p·log2(p/q), where that is positive, of the place's information."""

    axes = frozenset({AXIS})

    def __init__(self, around: int, proteins: int) -> None:
        self._around, self._proteins = around, proteins

    def title(self) -> str:
        return "Sequence logo"

    def applies(self, view: LatentView) -> bool:
        return super().applies(view) and isinstance(view.dataset, Proteins) and view.firing_in is not None

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        dataset = view.dataset
        assert isinstance(dataset, Proteins)
        assert view.firing_in is not None
        strength = np.where(view.known(TEST), view.strength, 0)
        rows = [int(row) for row in np.argsort(-strength, kind="stable")[: self._proteins] if strength[row] > 0]
        if len(rows) < FEWEST:
            return ()
        sequences = [dataset.sequence(row) for row in rows]
        peaks = []
        for row in rows:
            firing = view.firing_in(row)
            placed = firing.coords[:, 0] >= 0
            peaks.append(int(firing.coords[placed, 0][np.argmax(firing.values[placed])]) if placed.any() else 0)
        common = _frequencies([dataset.sequence(int(row)) for row in np.flatnonzero(view.known(TEST))])
        bits, shares = information(sequences, peaks, self._around, common)
        random = np.random.default_rng([view.latent])
        chance = [
            information(sequences, [int(random.integers(len(s))) for s in sequences], self._around, common)[0].sum()
            for _ in range(DRAWS)
        ]
        alt = (
            f"residues around the strongest place in each of {len(rows)} test proteins: {bits.sum():.1f} bits in all, "
            f"{np.mean(chance):.1f} around places by chance"
        )
        return [Figure("text/html", _drawn(bits, shares, common, self._around, alt), alt, alt)]


def information(
    sequences: Sequence[str], at: Sequence[int], around: int, common: Float[np.ndarray, " letter"]
) -> tuple[Float[np.ndarray, " place"], Float[np.ndarray, "place letter"]]:
    """Bits at every place around, Σ p log2(p/q), and the letters' shares p, with one pseudocount spread as q."""
    counts = np.zeros((2 * around + 1, len(LETTERS)))
    for sequence, middle in zip(sequences, at, strict=True):
        for place in range(-around, around + 1):
            i = middle + place
            if 0 <= i < len(sequence) and sequence[i] in LETTERS:
                counts[place + around, LETTERS.index(sequence[i])] += 1
    shares = (counts + common) / (counts.sum(axis=1, keepdims=True) + 1)
    return (shares * np.log2(shares / common)).sum(axis=1), shares


def _frequencies(sequences: Sequence[str]) -> Float[np.ndarray, " letter"]:
    counts = np.array([sum(sequence.count(letter) for sequence in sequences) for letter in LETTERS], dtype=float) + 1
    return np.asarray(counts / counts.sum())


def _drawn(
    bits: Float[np.ndarray, " place"],
    shares: Float[np.ndarray, "place letter"],
    common: Float[np.ndarray, " letter"],
    around: int,
    alt: str,
) -> bytes:
    top = max(float(bits.max()), 1.0)
    base = TOP + TALL
    parts = [svg.text(LEFT - 4, TOP + 8, f"{top:.1f}", anchor="end"), svg.text(LEFT - 4, base, "0 bits", anchor="end")]
    for place in range(len(bits)):
        gain = shares[place] * np.log2(shares[place] / common)
        gain = np.where(gain > 0, gain, 0)
        scale = float(bits[place]) / gain.sum() if gain.sum() > 0 else 0.0
        x, y = LEFT + place * CELL, base
        for letter in np.argsort(gain, kind="stable"):
            high = float(gain[letter]) * scale / top * TALL
            if high >= 2.0:
                parts.append(_letter(LETTERS[letter], x, y, high))
                y -= high
        name = f"{place - around:+d}".replace("-", "−") if place != around else "0"
        parts.append(svg.text(x + CELL / 2, base + 14, name, anchor="middle"))
    parts.append(svg.line(LEFT, base, LEFT + len(bits) * CELL, base, kind="axis"))
    return svg.drawing(LEFT + len(bits) * CELL + 6, base + 20, parts, alt=alt)


def _letter(letter: str, x: float, y: float, high: float) -> str:
    """A letter stretched to a cell's width and this height: capitals of this font are 0.73 of its size high."""
    colour = next(colour for group, colour in GROUPS.items() if letter in group)
    wide, tall = CELL / 13, high / 14.6
    place = f"translate({svg.number(x + CELL / 2)} {svg.number(y)}) scale({wide:.3f} {tall:.3f})"
    style = f"fill:{colour};font:700 20px sans-serif"
    return f'<text transform="{place}" text-anchor="middle" style="{style}">{html.escape(letter)}</text>'
