import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from omnisae.extract.dataset import FeatureTable
from omnisae_single_cell.top_genes import rank_genes
from scipy import stats


def test_planted_genes_lead_the_list():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 30))
    own = np.arange(200) < 50
    values[own, 7] += 3
    values[own, 3] += 2
    names, rows = rank_genes(FeatureTable([f"g{i}" for i in range(30)], values, "gene"), own, ~own, 5)
    assert names[:2] == ["g7", "g3"]
    assert rows[0][3] < 1e-10


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_t_and_q_equal_scipys_on_the_cells_themselves(seed, sparse):
    rng = np.random.default_rng(seed)
    values = rng.poisson(1.0, size=(40, 6)).astype(float)
    own = rng.random(40) < 0.4
    own[:3], own[3:6] = True, False
    table = FeatureTable(list("abcdef"), sp.csr_matrix(values) if sparse else values, "gene")
    names, rows = rank_genes(table, own, ~own, 6)
    slow = stats.ttest_ind(values[own], values[~own], equal_var=False)
    q = stats.false_discovery_control(np.nan_to_num(slow.pvalue, nan=1.0))
    for name, row in zip(names, rows, strict=True):
        column = "abcdef".index(name)
        np.testing.assert_allclose(row[2], np.nan_to_num(slow.statistic[column]), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(row[3], q[column], rtol=1e-8)
