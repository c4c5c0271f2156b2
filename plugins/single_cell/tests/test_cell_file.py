"""Files of cells in memory and on disk, h5ad and Zarr: the same tables, whichever way they are read."""

import pickle

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from omnisae.config import HookConfig
from omnisae.errors import DatasetError
from omnisae_single_cell.expression import blocks, log_normalised, take
from omnisae_single_cell.plugin import H5adConfig, TableConfig

ROWS = [5, 6, 40, 7]


@pytest.fixture(params=["h5ad", "zarr"])
def file(request, counts_file):
    """The cells with a sparse layer of counts and a dense X, in either format."""
    data = anndata.read_h5ad(counts_file)
    data.layers["counts"] = sp.csr_matrix(data.X)
    data.raw = data[:, :6].copy()
    data.obs["fresh"] = np.arange(60) % 3 == 0
    path = counts_file.with_suffix(f".all.{request.param}")
    (data.write_h5ad if request.param == "h5ad" else data.write_zarr)(path)
    return path


def tokens(path, at, backed):
    dataset = H5adConfig(path=str(path), backed=backed).build()
    extractor = TableConfig().build(dataset)
    points = extractor.resolve([HookConfig(at=at)])
    inputs = extractor.collate([extractor.prepare(dataset.load(row)) for row in ROWS])
    return extractor.extract(ROWS, inputs, points).tokens[points[0].name].values.numpy()


@pytest.mark.parametrize("at", ["X", "raw", "layers/counts", "layers/half", "obsm/X_pca", "log/X", "log/layers/counts"])
def test_tables_on_disk_give_the_same_tokens(file, at):
    on_disk = tokens(file, at, True)
    np.testing.assert_array_equal(on_disk, tokens(file, at, False))
    assert on_disk.any()


def test_log_counts_are_scanpys(counts_file):
    scanpy = pytest.importorskip("scanpy")
    data = anndata.read_h5ad(counts_file)
    scanpy.pp.normalize_total(data, target_sum=1e4)
    scanpy.pp.log1p(data)
    mine = log_normalised(anndata.read_h5ad(counts_file).X)
    np.testing.assert_allclose(mine, data.X, rtol=1e-5)
    np.testing.assert_allclose(
        log_normalised(sp.csr_matrix(anndata.read_h5ad(counts_file).X)).toarray(), mine, rtol=1e-5
    )


def test_a_cell_without_counts_stays_zero():
    assert not log_normalised(np.zeros((2, 3))).any()
    assert not log_normalised(sp.csr_matrix((2, 3))).toarray().any()


def test_logarithms_of_what_is_no_count_are_refused(file):
    dataset = H5adConfig(path=str(file)).build()
    with pytest.raises(DatasetError, match="'layers/half' does not hold raw counts") as error:
        dataset.table("log/layers/half")
    assert "which the logarithm of normalised counts needs" in str(error.value)
    assert "this file has X, raw, layers/" in str(error.value)


def test_a_column_of_true_and_false_is_one_concept(file):
    notes = H5adConfig(path=str(file), concepts=("fresh", "kind")).build().annotations()
    assert notes.binary() == ["fresh", "kind=a", "kind=b", "kind=c"]
    assert notes.labels["fresh"].sum() == 20


def test_a_dataset_on_disk_travels_to_other_processes(file):
    dataset = H5adConfig(path=str(file), backed=True).build()
    there = pickle.loads(pickle.dumps(dataset))
    assert list(there.ids) == list(dataset.ids)
    assert there.fingerprint() == dataset.fingerprint()


def test_rows_come_in_the_order_asked_for_and_in_blocks(file):
    table = H5adConfig(path=str(file), backed=True).build().table("layers/counts")
    whole = H5adConfig(path=str(file)).build().table("layers/counts").toarray()
    np.testing.assert_array_equal(take(table, np.array([7, 3, 3])).toarray(), whole[[7, 3, 3]])
    rows = np.arange(1, 60, 2)
    found = np.concatenate([part.toarray() for _, part in blocks(table, rows, 7)])
    np.testing.assert_array_equal(found, whole[rows])


def test_a_folder_that_is_no_zarr_is_named(tmp_path):
    (tmp_path / "bad.zarr").mkdir()
    with pytest.raises(DatasetError, match=r"bad\.zarr cannot be read as Zarr"):
        H5adConfig(path=str(tmp_path / "bad.zarr")).build()
