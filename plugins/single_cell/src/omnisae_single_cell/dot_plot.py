"""A dot plot: the genes of a latent by type of cell."""

from collections.abc import Sequence
from html import escape

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from omnisae import svg
from omnisae.extract.dataset import Dataset
from omnisae.extract.split import SELECT, TEST
from omnisae.report.scale import colour
from omnisae.report.visualizer import Drawing, Figure, LatentView, Visualizer
from omnisae.report.words import clip, short
from omnisae_single_cell.expression import blocks
from omnisae_single_cell.top_genes import FEWEST, SHARE, _sizes, welch

LEFT, TOP, ROW, COLUMN, LARGEST = 150, 84, 26, 40, 10.0


class DotPlot(Visualizer):
    """Rows are types of cells, columns the genes that set the latent's cells apart (chosen on select, as by
    `single_cell.top_genes`). A dot's area is the share of a type's test cells with the gene above zero, its colour the
    mean expression from 0 to the gene's largest over rows. The first row is of the latent's own cells.
    """

    def __init__(self, column: str | None, genes: int, types: int) -> None:
        self.column, self.genes, self.types = column, genes, types

    def title(self) -> str:
        return "Its genes by type of cell"

    def applies(self, view: LatentView) -> bool:
        table = view.dataset.features()
        return table is not None and table.noun == "gene" and self._column(view.dataset) is not None

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        table, column = view.dataset.features(), self._column(view.dataset)
        own, choose, judge = view.strength > SHARE * view.ceiling, view.known(SELECT), view.known(TEST)
        if table is None or column is None or min(_sizes(own, choose) + _sizes(own, judge)) < FEWEST:
            return ()
        genes = np.argsort(-welch(table.values, own & choose, ~own & choose).t, kind="stable")[: self.genes]
        labels = np.array(view.dataset.labels()[column])
        kinds, counts = np.unique(labels[judge & (labels != "")], return_counts=True)
        kept = sorted(kinds[np.argsort(-counts, kind="stable")[: self.types]].tolist())
        groups = [own & judge, *(judge & (labels == kind) for kind in kept)]
        mean, share = _summaries(table.values, genes, groups)
        names = ["its own cells", *kept]
        sizes = [int(group.sum()) for group in groups]
        picture = self._draw([str(table.names[gene]) for gene in genes], names, sizes, mean, share)
        left_out = f" The {len(kinds) - len(kept)} smallest types are left out." if len(kept) < len(kinds) else ""
        caption = (
            f"Genes chosen on select cells; dots tell of {int(judge.sum())} test cells. Area: share of the row's cells "
            f"that express the gene. Colour: mean expression, from 0 to the gene's largest over the rows.{left_out}"
        )
        return [Figure("text/html", picture, caption, f"Genes by {column}: " + ", ".join(map(str, names)))]

    def _column(self, dataset: Dataset) -> str | None:
        columns = list(dataset.labels())
        if self.column is not None:
            return self.column if self.column in columns else None
        return columns[0] if columns else None

    def _draw(
        self,
        genes: list[str],
        names: list[str],
        sizes: list[int],
        mean: Float[np.ndarray, "group gene"],
        share: Float[np.ndarray, "group gene"],
    ) -> bytes:
        scale = np.maximum(mean.max(axis=0), 1e-12)
        parts = []
        for j, gene in enumerate(genes):
            x, y = LEFT + COLUMN * (j + 0.5), TOP - 14
            turned = f'transform="rotate(-50 {svg.number(x)} {svg.number(y)})"'
            parts.append(f'<text class="label" x="{svg.number(x)}" y="{y}" {turned}>{escape(clip(gene, 12))}</text>')
        for i, (name, size) in enumerate(zip(names, sizes, strict=True)):
            y = TOP + ROW * (i + 0.5)
            parts.append(svg.text(LEFT - 8, y + 4, f"{clip(name, 16)} ({size})", anchor="end", kind="label"))
            for j, gene in enumerate(genes):
                radius = LARGEST * float(np.sqrt(share[i, j]))
                tip = f"{gene} in {name}: mean {short(float(mean[i, j]))}, in {share[i, j]:.0%} of {size} cells"
                parts.append(
                    f'<circle cx="{svg.number(LEFT + COLUMN * (j + 0.5))}" cy="{svg.number(y)}" '
                    f'r="{svg.number(radius)}" style="fill:{colour(float(mean[i, j] / scale[j]))}">'
                    f"<title>{escape(tip)}</title></circle>"
                )
        parts.append(svg.line(LEFT, TOP + ROW, LEFT + COLUMN * len(genes), TOP + ROW, kind="gridline"))
        width, height = LEFT + COLUMN * len(genes) + 40, TOP + ROW * len(names) + 8
        alt = "Dot plot: " + ", ".join(genes) + " by " + ", ".join(names)
        return svg.drawing(width, height, parts, alt=alt)


def _summaries(
    table: object, genes: Int[np.ndarray, " gene"], groups: Sequence[np.ndarray]
) -> tuple[Float[np.ndarray, "group gene"], Float[np.ndarray, "group gene"]]:
    """Mean expression, and the share of cells above zero, of chosen genes in each group of cells."""
    mean, share = np.zeros((len(groups), len(genes))), np.zeros((len(groups), len(genes)))
    for i, group in enumerate(groups):
        rows = np.flatnonzero(group)
        for _, values in blocks(table, rows):
            picked = values[:, genes]
            dense = picked.toarray() if sp.issparse(picked) else picked
            mean[i] += dense.sum(axis=0) / max(len(rows), 1)
            share[i] += (dense > 0).sum(axis=0) / max(len(rows), 1)
    return mean, share
