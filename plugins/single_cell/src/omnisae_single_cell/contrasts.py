"""A latent's own cells against all others, for every gene and many latents at once: products of sparse matrices."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy import stats

from omnisae.extract.split import SELECT, TEST
from omnisae.studies.study import Material
from omnisae_single_cell.expression import blocks

SHARE = 0.5
"""Cells count as a latent's own where it reaches this share of its largest value on select."""
FEWEST = 5
"""Cells that a latent must have, and leave to the others, on either side of the split."""


@dataclass(frozen=True)
class Contrast:
    """Sums of values and squares over a latent's own cells (`n` of them), and over all cells."""

    s1: Float[np.ndarray, "latent gene"]
    s2: Float[np.ndarray, "latent gene"]
    n: Float[np.ndarray, " latent"]
    all1: Float[np.ndarray, " gene"]
    all2: Float[np.ndarray, " gene"]
    cells: int

    @property
    def means(self) -> tuple[Float[np.ndarray, "latent gene"], Float[np.ndarray, "latent gene"]]:
        """Mean of every gene in the own cells and in the others."""
        n = self.n[:, None]
        return self.s1 / n, (self.all1 - self.s1) / (self.cells - n)

    @property
    def deviation(self) -> Float[np.ndarray, " gene"]:
        """Every gene's standard deviation over all cells."""
        mean = self.all1 / self.cells
        return np.sqrt(np.maximum(self.all2 / self.cells - mean**2, 0.0))

    def difference(self) -> Float[np.ndarray, "latent gene"]:
        """Mean in the own cells less mean in the others, in standard deviations; 0 for a gene that does not vary."""
        inside, outside = self.means
        scale = self.deviation
        return np.divide(inside - outside, scale, out=np.zeros_like(inside), where=scale > 1e-12)

    def welch(self) -> tuple[Float[np.ndarray, "latent gene"], Float[np.ndarray, "latent gene"]]:
        """Welch's t (1947), positive where the own cells express more, and its two-sided p; 0 and 1 for a gene that
        varies in neither group."""
        n, rest = self.n[:, None], self.cells - self.n[:, None]
        inside, outside = self.means
        spread_in = np.sqrt(np.maximum(self.s2 - n * inside**2, 0.0) / (n - 1))
        spread_out = np.sqrt(np.maximum(self.all2 - self.s2 - rest * outside**2, 0.0) / (rest - 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            found = stats.ttest_ind_from_stats(inside, spread_in, n, outside, spread_out, rest, equal_var=False)
        return np.nan_to_num(found.statistic, nan=0.0, posinf=0.0, neginf=0.0), np.nan_to_num(found.pvalue, nan=1.0)


def contrast(table: Any, rows: Int[np.ndarray, " row"], member: Any) -> Contrast:
    """The sums over chosen rows of a table (cell × gene). `member` tells, row × latent of zeros and ones, whose cells
    these are."""
    member = sp.csr_matrix(member, dtype=np.float64)
    shape = (member.shape[1], table.shape[1])
    s1, s2 = np.zeros(shape), np.zeros(shape)
    all1, all2 = np.zeros(shape[1]), np.zeros(shape[1])
    for part, values in blocks(table, rows):
        squares = values.multiply(values).tocsr() if sp.issparse(values) else values**2
        own = member[part].T
        for total, whole, one in ((s1, all1, values), (s2, all2, squares)):
            found = own @ one
            total += found.toarray() if sp.issparse(found) else found
            whole += np.asarray(one.sum(axis=0)).ravel()
    return Contrast(s1, s2, np.asarray(member.sum(axis=0)).ravel(), all1, all2, len(rows))


@dataclass(frozen=True)
class Own:
    """The latents that have enough own cells, as posting lists, and which cells are theirs: example × latent."""

    lists: Int[np.ndarray, " latent"]
    member: Any

    def on(self, rows: Int[np.ndarray, " row"]) -> Any:
        """Membership of chosen rows, CSR."""
        return self.member[rows]


def own_cells(material: Material, most: int) -> Own:
    """The cells in which each latent reaches half of its largest value on select. At most `most` latents, those with
    the most own cells first, in the order of their numbers."""
    strengths = material.strengths.tocsc()
    bar = SHARE * np.asarray(material.postings.maxima_select)
    owner = np.repeat(np.arange(strengths.shape[1]), np.diff(strengths.indptr))
    kept = (strengths.data > bar[owner]) & (strengths.data > 0)
    member = sp.csr_matrix(
        (np.ones(int(kept.sum())), (strengths.indices[kept], owner[kept])), shape=strengths.shape, dtype=np.float64
    )
    able = np.ones(strengths.shape[1], dtype=bool)
    for side in (SELECT, TEST):
        rows = material.rows(side)
        count = np.asarray(member[rows].sum(axis=0)).ravel()
        able &= (count >= FEWEST) & (len(rows) - count >= FEWEST)
    lists = np.flatnonzero(able)
    size = np.asarray(member[:, lists].sum(axis=0)).ravel()
    lists = np.sort(lists[np.argsort(-size, kind="stable")[:most]])
    return Own(lists, member[:, lists])


def spread(values: Float[np.ndarray, " latent"], lists: Int[np.ndarray, " latent"], total: int) -> np.ndarray:
    """Values of some posting lists laid out over all, NaN elsewhere."""
    out = np.full(total, np.nan)
    out[lists] = values
    return out
