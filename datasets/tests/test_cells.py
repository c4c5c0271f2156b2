"""The world `cells`: what is planted is there, its files are the field's, and it is the same everywhere."""

import numpy as np
import pytest

pytest.importorskip("anndata", reason="anndata is not installed")

import anndata

from omnisae_datasets import resolve
from omnisae_datasets.__main__ import main
from omnisae_datasets.cells.biology import BIOLOGY, PROGRAMS, STAGES
from omnisae_datasets.cells.simulate import cell, counts


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNISAE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield resolve("world:cells?n=500&seed=3")


@pytest.fixture(scope="module")
def cells(home):
    return anndata.read_h5ad(home / "cells.h5ad")


@pytest.fixture(scope="module")
def log(cells):
    dense = cells.X.toarray()
    return np.log1p(dense / dense.sum(axis=1, keepdims=True) * 10_000)


def standing_out(log, own, name):
    """How far the mean over a set's genes lies above that over all others, in these cells against the rest."""
    genes = np.isin(np.arange(log.shape[1]), BIOLOGY.sets[name])
    gap = log[own].mean(axis=0) - log[~own].mean(axis=0)
    return gap[genes].mean() - gap[~genes].mean()


def test_a_cell_depends_on_its_seed_and_number_alone(cells):
    assert cell(3, 7) == cell(3, 7)
    np.testing.assert_array_equal(counts(3, 7), counts(3, 7))
    assert (counts(3, 7) != counts(4, 7)).any()
    np.testing.assert_array_equal(cells.X[7].toarray().ravel(), counts(3, 7))
    assert cells.obs["cell_type"].iloc[7] == cell(3, 7).kind


def test_x_holds_whole_numbers_that_add_up(cells):
    assert (cells.X.data == np.round(cells.X.data)).all()
    assert (cells.X.data > 0).all()
    assert (np.asarray(cells.X.sum(axis=1)).ravel() == cells.obs["n_counts"]).all()


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_an_active_program_raises_its_genes(cells, log, name):
    on = cells.obs[name].to_numpy()
    assert standing_out(log, on, name) > 0.4
    assert abs(on.mean() - PROGRAMS[name]) < 0.06


@pytest.mark.parametrize("kind", ["T cell", "B cell", "NK cell", "monocyte", *STAGES])
def test_a_type_raises_its_markers(cells, log, kind):
    assert standing_out(log, (cells.obs["cell_type"] == kind).to_numpy(), kind) > 0.5


def test_the_lineage_is_a_path_in_pseudotime(cells, log):
    time = cells.obs["pseudotime"].to_numpy()
    on = ~np.isnan(time)
    assert set(cells.obs["cell_type"][on]) == set(STAGES)
    assert not set(cells.obs["cell_type"][~on]) & set(STAGES)
    late, early = (log[on][:, list(BIOLOGY.sets[name])].mean(axis=1) for name in ("erythrocyte", "progenitor"))
    assert np.corrcoef(time[on], late - early)[0, 1] > 0.9


def test_programs_and_types_are_independent_of_batches(cells):
    table = cells.obs.groupby("batch", observed=True)[list(PROGRAMS)].mean()
    assert float((table.max() - table.min()).max()) < 0.15
    assert (cells.obs["donor"].astype(str).str.split("-").str[0] == cells.obs["batch"].astype(str)).all()


def test_a_batch_moves_its_genes_and_no_others(cells, log):
    moved = np.abs(BIOLOGY.batch).max(axis=0) > 0
    assert moved.sum() == 60
    means = np.stack(
        [log[(cells.obs["batch"] == name).to_numpy()].mean(axis=0) for name in ("batch1", "batch2", "batch3")]
    )
    spread = means.max(axis=0) - means.min(axis=0)
    assert spread[moved].mean() > 2 * spread[~moved].mean()


def test_sets_name_genes_of_the_table(home, cells):
    sets = {line.split("\t")[0]: line.split("\t")[2:] for line in (home / "sets.gmt").read_text().splitlines()}
    assert set(PROGRAMS) <= set(sets)
    assert sum(name.startswith("decoy") for name in sets) == 20
    assert all(set(genes) <= set(cells.var_names) for genes in sets.values())
    assert set(sets["hypoxia"]) == set(cells.var_names[cells.var["set"] == "hypoxia"])


def test_the_same_world_is_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        assert main(["cells", "--out", str(tmp_path / name), "--n", "40", "--seed", "5"]) == 0
    assert (tmp_path / "a/cells.h5ad").read_bytes() == (tmp_path / "b/cells.h5ad").read_bytes()
