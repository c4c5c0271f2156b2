"""Studies of latents of cells: what is planted is found, formulas are scanpy's and scipy's, and nulls are uniform."""

from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.postings.poles import Poles
from omnisae.testing import StudyTests
from omnisae_single_cell.batch import follow, permuted_within
from omnisae_single_cell.contrasts import contrast, own_cells
from omnisae_single_cell.enrichment import against_cells, against_genes, draw_sets, expression_bins, set_scores
from omnisae_single_cell.gmt import read_gmt, within
from omnisae_single_cell.plugin import BatchConfig, DifferentialExpressionConfig, EnrichmentConfig, H5adConfig

CELLS, GENES, LATENTS = 400, 200, 6
SETS = {"planted": range(10), "other": range(20, 30), "third": range(40, 50)}


class Planted:
    """Latent 0 fires where genes 0–9 are raised, latent 1 in batch b, the others anywhere; half of the cells choose."""

    seed, groups = 0, None

    def __init__(self, folder):
        rng = np.random.default_rng(0)
        program, batch, kind = rng.random(CELLS) < 0.3, rng.integers(0, 2, CELLS), rng.integers(0, 3, CELLS)
        values = rng.normal(size=(CELLS, GENES)) + 0.8 * rng.normal(size=(CELLS, 1)) * (np.arange(GENES) >= 40)
        values[:, :10] += np.where(program, 1.0, -0.5)[:, None]
        codes = rng.random((CELLS, LATENTS)) * (rng.random((CELLS, LATENTS)) < 0.3)
        codes[:, 0] = np.where(program, 0.8 + 0.2 * rng.random(CELLS), 0)
        codes[:, 1] = np.where((batch == 1) & (rng.random(CELLS) < 0.8), 1.0, 0)
        codes[:, 5] = 0
        obs = pd.DataFrame({"batch": np.array(["a", "b"])[batch], "kind": np.array(["x", "y", "z"])[kind]})
        obs.index = [f"c{i}" for i in range(CELLS)]
        data = anndata.AnnData(values.astype(np.float32), obs=obs)
        data.var_names = [f"g{i}" for i in range(GENES)]
        data.write_h5ad(folder / "cells.h5ad")
        lines = ["\t".join([name, "", *(f"g{i}" for i in genes)]) for name, genes in SETS.items()]
        (folder / "sets.gmt").write_text("\n".join(lines))
        self.folder, self.dataset = folder, H5adConfig(path=str(folder / "cells.h5ad")).build()
        self.values, self.strengths = values, sp.csc_array(codes.astype(np.float32))
        self.postings = SimpleNamespace(maxima_select=codes.max(axis=0), poles=Poles(LATENTS), n_examples=CELLS)
        self.annotations = self.dataset.annotations()

    def rows(self, side):
        return np.arange(CELLS)[np.arange(CELLS) % 2 == (side == TEST)]

    def activations(self, rows, pool):
        return self.values[rows].astype(np.float32)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return Planted(tmp_path_factory.mktemp("planted"))


class TestDifferentialExpression(StudyTests):
    @pytest.fixture
    def config(self):
        return DifferentialExpressionConfig(genes=5)

    @pytest.fixture
    def material(self, planted):
        return planted

    def test_the_planted_genes_hold_and_others_do_not(self, findings):
        measured = {one.name: one.values for one in findings.measures}
        assert measured["genes that hold"][0] == 5
        assert set(measured["genes"][0].split(", ")) <= {f"g{i}" for i in range(10)}
        assert (np.asarray(measured["genes that hold"])[2:5] <= 1).all()
        assert np.isnan(measured["genes that hold"][5])
        assert findings.findings[0].control <= 0.05


class TestEnrichment(StudyTests):
    @pytest.fixture
    def config(self, planted):
        return EnrichmentConfig(sets=str(planted.folder / "sets.gmt"), draws=99)

    @pytest.fixture
    def material(self, planted):
        return planted

    def test_the_planted_set_is_found_and_no_other(self, findings):
        measured = {one.name: one.values for one in findings.measures}
        assert measured["gene set"][0] == "planted"
        assert measured["gene set q"][0] <= 0.05
        assert (np.asarray(measured["gene set q"])[1:5] > 0.05).all()
        assert "which are the universe" in findings.notes[0]


class TestBatch(StudyTests):
    @pytest.fixture
    def config(self):
        return BatchConfig(column="batch", within="kind", permutations=99)

    @pytest.fixture
    def material(self, planted):
        return planted

    def test_the_latent_of_the_batch_is_flagged_and_no_other(self, findings):
        q = np.asarray({one.name: one.values for one in findings.measures}["batch q (batch)"])
        assert q[1] <= 0.05
        assert (q[[0, 2, 3, 4]] > 0.05).all()
        assert findings.findings[0].value == pytest.approx(1 / 5)
        assert "1 of 5 latents follow batch" in findings.warnings[0]

    def test_a_column_that_does_not_mix_with_types_is_refused(self, planted):
        with pytest.raises(DatasetError, match="no two batches of 'batch' share a type of 'batch'"):
            BatchConfig(column="batch", within="batch").build().study(planted)


@pytest.mark.parametrize("sparse", [False, True])
def test_t_and_p_are_scanpys(planted, sparse):
    scanpy = pytest.importorskip("scanpy")
    rows = planted.rows(SELECT)
    own = own_cells(planted, 10).on(rows)
    table = planted.dataset.data.x
    found = contrast(sp.csr_matrix(table) if sparse else table, rows, own)
    t, p = found.welch()
    data = anndata.AnnData(table[rows].copy())
    data.var_names = [f"g{i}" for i in range(GENES)]
    for latent in (0, 2):
        inside = own[:, [latent]].toarray().ravel() > 0
        data.obs["own"] = pd.Categorical(np.where(inside, "in", "out"))
        scanpy.tl.rank_genes_groups(data, "own", groups=["in"], reference="rest", method="t-test")
        theirs = scanpy.get.rank_genes_groups_df(data, "in").set_index("names").loc[data.var_names]
        np.testing.assert_allclose(t[latent], theirs["scores"], rtol=1e-4)
        np.testing.assert_allclose(p[latent], theirs["pvals"], rtol=1e-3)


def test_the_statistic_is_the_same_by_genes_and_by_cells(planted):
    rows = planted.rows(TEST)
    own, sets = own_cells(planted, 10), [list(genes) for genes in SETS.values()]
    found = contrast(planted.dataset.data.x, rows, own.on(rows))
    value = against_genes(found.difference(), sets, expression_bins(found.all1), 19, np.random.default_rng(0)).value
    scores = set_scores(planted.dataset.data.x, rows, sets, found.deviation)
    member = own.on(rows).toarray() > 0
    slow = [[scores[one, s].mean() - scores[~one, s].mean() for s in range(3)] for one in member.T]
    np.testing.assert_allclose(value, slow, rtol=1e-8)


def test_random_sets_are_as_much_expressed(planted):
    bins = expression_bins(np.arange(GENES, dtype=float))
    rows = [0, 1, 2, 30, GENES - 1]
    for drawn in draw_sets(rows, bins, 50, np.random.default_rng(1)):
        assert len(set(drawn.tolist())) == 5
        assert sorted(bins[drawn]) == sorted(bins[rows])


def test_p_against_genes_is_uniform_for_random_sets():
    rng = np.random.default_rng(2)
    difference = rng.normal(size=(1, 300)) + (np.arange(300) < 40)
    bins = expression_bins(rng.random(300))
    p = [against_genes(difference, [rng.permutation(300)[:12].tolist()], bins, 199, rng).p[0, 0] for _ in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_p_against_cells_is_uniform_for_random_latents_of_genes_that_go_together():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(120, 30)) + 2 * rng.normal(size=(120, 1)) * (np.arange(30) < 10)
    scores = set_scores(values, np.arange(120), [list(range(10))], values.std(axis=0))
    member = np.stack([np.isin(np.arange(120), rng.permutation(120)[:25]) for _ in range(400)], axis=1)
    shuffles = np.stack([rng.permutation(120) for _ in range(199)])
    p = against_cells(scores, sp.csr_matrix(member.astype(float)), shuffles)[:, 0]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_p_of_a_batch_is_uniform_for_latents_that_follow_the_type_alone():
    rng = np.random.default_rng(4)
    strata = rng.integers(0, 3, 150)
    batch = (rng.random(150) < np.array([0.2, 0.5, 0.8])[strata]).astype(float)
    member = np.stack([batch, 1 - batch], axis=1)
    values = rng.normal(size=(150, 400)) + 3 * strata[:, None]
    shuffles = [permuted_within(strata, rng) for _ in range(199)]
    _, p, chance = follow(values, np.arange(150), strata, member, shuffles)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert chance.mean() < 0.2


def test_the_association_is_that_over_pairs_within_types():
    rng = np.random.default_rng(5)
    strata, values = rng.integers(0, 2, 40), rng.integers(0, 5, 40).astype(float)
    one = rng.random(40) < 0.5
    won = pairs = 0.0
    for i in np.flatnonzero(one):
        for j in np.flatnonzero(~one & (strata == strata[i])):
            won += np.sign(values[i] - values[j])
            pairs += 1
    member = np.stack([one, ~one], axis=1).astype(float)
    found, _, _ = follow(values[:, None], np.arange(40), strata, member, [np.arange(40)])
    assert found[0] == pytest.approx(abs(won / pairs))


def test_errors_of_gene_sets_name_file_and_line(tmp_path):
    path = tmp_path / "sets.gmt"
    for text, words in (
        ("a\tx\tg1\nb\tx\n", "line 2: the set 'b' names no gene"),
        ("a\tx\tg1\na\tx\tg2\n", "line 2: the set 'a' stands there a second time"),
        ("\n", "holds no gene set"),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=words):
            read_gmt(path)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_gmt(tmp_path / "none.gmt")
    with pytest.raises(DatasetError, match="0 of the 2 genes it names are measured") as error:
        within({"a": ("TP53", "MYC")}, ["ENSG01"], 1, 10, path)
    assert "dataset.var_names" in str(error.value)
