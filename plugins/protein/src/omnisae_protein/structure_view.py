"""The visualizer `protein.structure`: a protein's C-alpha trace coloured by the latent, seen from its broadest side.

Drawn as SVG: a report's pages run no script of a drawing's own, so that a viewer such as 3Dmol.js could not.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from omnisae import svg
from omnisae.report.scale import SILENT, colour
from omnisae.report.visualizer import Drawing, Figure, Firing, LatentView, Visualizer
from omnisae.report.words import short
from omnisae_protein.dataset import AXIS, Proteins
from omnisae_protein.structures import trace

SIZE, EDGE = 300.0, 14.0
FAR, NEAR = 1.6, 4.6
"""Widths of strokes behind and in front."""


class Structure(Visualizer):
    """Nearer parts are thicker and drawn over farther ones; silent ones are grey."""

    axes = frozenset({AXIS})

    def title(self) -> str:
        return "Structure"

    def applies(self, view: LatentView) -> bool:
        return super().applies(view) and isinstance(view.dataset, Proteins) and view.dataset.has_structures

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        dataset = view.dataset
        assert isinstance(dataset, Proteins)
        path = dataset.structure(firing.row)
        if path is None:
            return ()
        sequence = dataset.sequence(firing.row)
        values = np.zeros(len(sequence))
        placed = firing.coords[:, 0] >= 0
        values[firing.coords[placed, 0]] = firing.values[placed]
        at = trace(path, len(sequence))
        known = int(np.isfinite(at[:, 0]).sum())
        if known < 3:
            return ()
        alt = (
            f"the C-alpha trace of {view.dataset.ids[firing.row]}, {known} residues; fires on {int((values > 0).sum())}"
        )
        drawn = svg.drawing(SIZE, SIZE, _strokes(projected(at), values, view.ceiling, sequence), alt=alt)
        return [Figure("text/html", drawn, f"{alt}. Colours end at {short(view.ceiling)}", alt)]


def projected(at: Float[np.ndarray, "residue 3"]) -> Float[np.ndarray, "residue 3"]:
    """Places on the plane of the two broadest directions, and the depth towards the eye; the sign of each direction is
    that in which its largest part points."""
    middle = np.nanmean(at, axis=0)
    centred = at - middle
    found = np.isfinite(centred[:, 0])
    _, _, axes = np.linalg.svd(centred[found], full_matrices=False)
    axes = axes * np.sign(axes[np.arange(3), np.abs(axes).argmax(axis=1)])[:, None]
    return np.asarray(centred @ axes.T)


def _strokes(
    places: Float[np.ndarray, "residue 3"], values: Float[np.ndarray, " residue"], ceiling: float, sequence: str
) -> list[str]:
    low, high = np.nanmin(places, axis=0), np.nanmax(places, axis=0)
    scale = (SIZE - 2 * EDGE) / max(float((high - low)[:2].max()), 1e-9)
    flat = EDGE + (places[:, :2] - low[:2]) * scale
    flat += (SIZE - 2 * EDGE - (high - low)[:2] * scale) / 2
    depth = (places[:, 2] - low[2]) / max(float(high[2] - low[2]), 1e-9)
    parts = []
    for i in np.argsort(np.nan_to_num(depth), kind="stable"):
        here = [j for j in (i - 1, i, i + 1) if 0 <= j < len(places) and np.isfinite(places[j, 0])]
        if i not in here or len(here) < 2:
            continue
        # From halfway to the last residue to halfway to the next, so that each residue has its own colour.
        points = [tuple((flat[i] + flat[j]) / 2 if j != i else flat[i]) for j in here]
        share = min(float(values[i]) / ceiling, 1.0) if ceiling > 0 else 0.0
        paint = colour(share) if share > 0 else SILENT
        wide = FAR + (NEAR - FAR) * float(depth[i]) + (1.5 if share > 0 else 0)
        style = (
            f"stroke:{paint};stroke-width:{wide:.1f};stroke-linecap:round;opacity:{0.55 + 0.45 * float(depth[i]):.2f}"
        )
        parts.append(svg.curve(points, style=style))
    for i, anchor in ((0, "N"), (len(places) - 1, "C")):
        if np.isfinite(places[i, 0]):
            parts.append(svg.text(float(flat[i, 0]), float(flat[i, 1]) - 5, anchor, anchor="middle"))
    return parts
