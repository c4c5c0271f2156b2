import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from omnisae.extract.split import SELECT, TEST, TRAIN
from omnisae.hooks.point import HookPoint
from omnisae.report.visualizer import LatentView
from omnisae_single_cell.plugin import H5adConfig
from omnisae_single_cell.top_genes import TopGenes, welch


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_t_and_p_equal_scipys_on_the_cells_themselves(seed, sparse):
    rng = np.random.default_rng(seed)
    values = rng.poisson(1.0, size=(40, 6)).astype(float)
    own = rng.random(40) < 0.4
    own[:3], own[3:6] = True, False
    found = welch(sp.csr_matrix(values) if sparse else values, own, ~own)
    slow = stats.ttest_ind(values[own], values[~own], equal_var=False)
    np.testing.assert_allclose(found.t, np.nan_to_num(slow.statistic), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.p, np.nan_to_num(slow.pvalue, nan=1.0), rtol=1e-8)
    np.testing.assert_allclose(found.mean_in, values[own].mean(axis=0))


@pytest.fixture
def planted(tmp_path):
    """300 cells; the latent fires in the first third. gene0 is theirs on both, gene1 on the select split only."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 8)).astype(np.float32)
    own = np.arange(300) < 100
    split = np.array([TRAIN, SELECT, TEST], dtype=np.uint8)[np.arange(300) % 3]
    values[own, 0] += 2
    values[own & (split == SELECT), 1] += 4
    data = anndata.AnnData(values)
    data.obs_names = [f"cell{i}" for i in range(300)]
    data.var_names = ["both", "<b>chance</b>", *(f"g{i}" for i in range(6))]
    data.write_h5ad(tmp_path / "cells.h5ad")
    dataset = H5adConfig(path=str(tmp_path / "cells.h5ad")).build()
    hook = HookPoint(name="x", at=("X",), pattern="example d", width=8)
    strength = np.where(own, 1.0, 0.0).astype(np.float32)
    return LatentView(0, hook, 1.0, strength, dataset, None, scored=split != TRAIN, split=split)


def test_genes_are_chosen_on_one_split_and_judged_on_the_other(planted):
    (figure,) = TopGenes(2).draw_latent(planted)
    html = figure.data.decode()
    assert html.index("both") != -1
    chance = html.split("&lt;b&gt;chance&lt;/b&gt;")[1]
    shown_t = float(chance.split("<td class='num'>")[3].split("<")[0])
    assert abs(shown_t) < 4, "on cells that did not choose it, the gene of the select split alone does not stand out"
    assert "33 cells where the latent reaches half" in figure.caption.replace("34 cells", "33 cells")


def test_names_are_escaped(planted):
    (figure,) = TopGenes(8).draw_latent(planted)
    assert b"<b>chance" not in figure.data


def test_a_latent_of_too_few_cells_shows_no_table(planted):
    few = np.zeros(300, dtype=np.float32)
    few[:2] = 1.0
    view = LatentView(0, planted.hook, 1.0, few, planted.dataset, None, scored=planted.scored, split=planted.split)
    assert TopGenes(2).draw_latent(view) == ()
