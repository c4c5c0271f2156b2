"""The genes whose expression sets the cells of a latent apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from omnisae.extract.split import SELECT, TEST
from omnisae.report.visualizer import Figure, LatentView, Visualizer

SHARE = 0.5
"""Cells count as a latent's own where it reaches this share of its largest value."""

FEWEST = 3
"""Cells that each group must have on each side of the split for a comparison to be shown."""


class TopGenes(Visualizer):
    """A table of genes: mean expression in the latent's cells and in the others, Welch's t, q by Benjamini–Hochberg.

    The latent's cells are those in which it reaches half of its largest value; the others are all remaining ones, not
    only the silent. Genes are chosen on the cells of the select split; every number shown is of the test split's cells,
    and q is over the genes listed.
    """

    def __init__(self, genes: int) -> None:
        self.genes = genes

    def title(self) -> str:
        return "Genes of this latent"

    def applies(self, view: LatentView) -> bool:
        table = view.dataset.features()
        return table is not None and table.noun == "gene"

    def draw_latent(self, view: LatentView) -> Sequence[Figure]:
        table, own = view.dataset.features(), view.strength > SHARE * view.ceiling
        choose, judge = view.known(SELECT), view.known(TEST)
        if table is None or min(_sizes(own, choose) + _sizes(own, judge)) < FEWEST:
            return ()
        chosen = np.argsort(-welch(table.values, own & choose, ~own & choose).t, kind="stable")[: self.genes]
        found = welch(table.values[:, chosen], own & judge, ~own & judge)
        q = stats.false_discovery_control(found.p)
        inside, outside = _sizes(own, judge)
        caption = (
            f"Chosen by Welch's t on {int(choose.sum())} cells of the select split; the numbers are of the test split: "
            f"{inside} cells where the latent reaches half of its largest value against {outside} others. "
            f"Expression as the table holds it; q over the genes listed."
        )
        words = ("mean in", "mean out", "t", "q")
        head = "<th scope='col'>gene</th>" + "".join(f"<th scope='col' class='num'>{word}</th>" for word in words)
        body = "".join(
            f"<tr><th scope='row'>{escape(str(table.names[gene]))}</th>{_cells(found, q, i)}</tr>"
            for i, gene in enumerate(chosen)
        )
        html = f"<table class='data plain'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return [Figure("text/html", html.encode(), caption, f"Top gene: {table.names[chosen[0]]}")]


def _cells(found: "Welch", q: Float[np.ndarray, " gene"], i: int) -> str:
    texts = (f"{found.mean_in[i]:.2f}", f"{found.mean_out[i]:.2f}", f"{found.t[i]:.1f}", f"{q[i]:.1e}")
    return "".join(f"<td class='num'>{text}</td>" for text in texts)


@dataclass(frozen=True, slots=True)
class Welch:
    """Welch's t of every gene between two groups of cells: positive where the first expresses more. `p` is two-sided;
    a gene without variance in either group has t = 0 and p = 1."""

    mean_in: Float[np.ndarray, " gene"]
    mean_out: Float[np.ndarray, " gene"]
    t: Float[np.ndarray, " gene"]
    p: Float[np.ndarray, " gene"]


def welch(values: Any, own: Bool[np.ndarray, " cell"], others: Bool[np.ndarray, " cell"]) -> Welch:
    """Compare every column of `values` (cell × gene; dense or sparse) between two groups of cells (Welch 1947)."""
    mean_in, var_in, n_in = _moments(values, own)
    mean_out, var_out, n_out = _moments(values, others)
    with np.errstate(invalid="ignore", divide="ignore"):
        result = stats.ttest_ind_from_stats(
            mean_in, np.sqrt(var_in), n_in, mean_out, np.sqrt(var_out), n_out, equal_var=False
        )
    t = np.nan_to_num(np.asarray(result.statistic), nan=0.0, posinf=0.0, neginf=0.0)
    return Welch(mean_in, mean_out, t, np.nan_to_num(np.asarray(result.pvalue), nan=1.0))


def _sizes(own: Bool[np.ndarray, " cell"], side: Bool[np.ndarray, " cell"]) -> tuple[int, int]:
    return int((own & side).sum()), int((~own & side).sum())


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
