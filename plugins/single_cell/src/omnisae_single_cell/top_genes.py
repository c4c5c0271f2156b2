"""The genes whose expression sets the cells of a latent apart."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from omnisae.extract.dataset import FeatureTable
from omnisae.report.visualizer import Figure, LatentView, Visualizer
from scipy import stats

SHARE = 0.5
"""Cells count as a latent's own where it reaches this share of its largest value."""


class TopGenes(Visualizer):
    """A table of genes: mean expression in the latent's cells and in the others, Welch's t, q (Benjamini–Hochberg).

    The latent's cells are the held-out ones in which it reaches half of its largest value; the others are all remaining
    held-out cells, not only the silent ones. The same cells choose the genes and describe them, so q ranks genes and
    proves nothing about cells beyond these.
    """

    def __init__(self, genes: int) -> None:
        self.genes = genes

    def title(self) -> str:
        return "Genes of this latent"

    def applies(self, view: LatentView) -> bool:
        table = view.dataset.features()
        return table is not None and table.noun == "gene"

    def draw_latent(self, view: LatentView) -> Sequence[Figure]:
        table = view.dataset.features()
        scored = _scored(view)
        own = scored & (view.strength > SHARE * view.ceiling)
        others = scored & ~own
        if table is None or own.sum() < 3 or others.sum() < 3:
            return ()
        names, rows = rank_genes(table, own, others, self.genes)
        caption = (
            f"Genes with the largest Welch t between the {int(own.sum())} held-out cells where the latent reaches half "
            f"of its largest value and the {int(others.sum())} other held-out cells. Expression as the table holds it."
        )
        head = "".join(f"<th scope='col'>{word}</th>" for word in ("gene", "mean in", "mean out", "t", "q"))
        body = "".join(
            f"<tr><th scope='row'>{escape(name)}</th><td>{inside:.2f}</td><td>{outside:.2f}</td>"
            f"<td>{t:.1f}</td><td>{q:.1e}</td></tr>"
            for name, (inside, outside, t, q) in zip(names, rows, strict=True)
        )
        html = f"<table class='ranked'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return [Figure("text/html", html.encode(), caption, f"Top gene: {names[0]}")]


def rank_genes(
    table: FeatureTable, own: Bool[np.ndarray, " example"], others: Bool[np.ndarray, " example"], count: int
) -> tuple[list[str], list[tuple[float, float, float, float]]]:
    """The `count` genes with the largest Welch t: names, and (mean in, mean out, t, q) of each.

    q is Benjamini–Hochberg over all genes of the table, two-sided p.
    """
    mean_in, var_in, n_in = _moments(table.values, own)
    mean_out, var_out, n_out = _moments(table.values, others)
    with np.errstate(invalid="ignore", divide="ignore"):
        result = stats.ttest_ind_from_stats(
            mean_in, np.sqrt(var_in), n_in, mean_out, np.sqrt(var_out), n_out, equal_var=False
        )
    t = np.nan_to_num(np.asarray(result.statistic), nan=0.0, posinf=0.0, neginf=0.0)
    q = stats.false_discovery_control(np.nan_to_num(np.asarray(result.pvalue), nan=1.0))
    top = np.argsort(-t, kind="stable")[:count]
    return [str(table.names[i]) for i in top], [
        (float(mean_in[i]), float(mean_out[i]), float(t[i]), float(q[i])) for i in top
    ]


def _moments(
    values: Any, rows: Bool[np.ndarray, " example"]
) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"], int]:
    """Mean and unbiased variance of every column over the rows."""
    part = values[np.flatnonzero(rows)]
    count = int(rows.sum())
    if hasattr(part, "toarray"):
        mean = np.asarray(part.mean(axis=0), dtype=np.float64).ravel()
        square = np.asarray(part.multiply(part).mean(axis=0), dtype=np.float64).ravel()
    else:
        part = np.asarray(part, dtype=np.float64)
        mean, square = part.mean(axis=0), (part**2).mean(axis=0)
    return mean, np.maximum(square - mean**2, 0) * count / max(count - 1, 1), count


def _scored(view: LatentView) -> Bool[np.ndarray, " example"]:
    return np.asarray(view.shown, dtype=bool)
