import numpy as np
import pytest

from omnisae.errors import ConfigError, DatasetError
from omnisae_single_cell.plugin import H5adConfig, TableConfig


def dataset(path, **settings):
    return H5adConfig(path=str(path), **settings).build()


def test_categories_become_concepts_and_numbers_fractions(counts_file):
    notes = dataset(counts_file, concepts=("kind", "depth")).annotations()
    assert sorted(notes.binary()) == ["kind=a", "kind=b", "kind=c"]
    assert notes.fractions() == ["depth"]
    assert notes.labels["kind=b"].sum() == 20
    depth = notes.labels["depth"]
    assert np.isnan(depth[3])
    assert np.nanmin(depth) == 0.0
    assert np.nanmax(depth) == 1.0


def test_by_default_all_categorical_columns_are_concepts(counts_file):
    assert dataset(counts_file).concept_columns == ["kind", "donor"]
    assert dataset(counts_file, exclude=("donor",)).concept_columns == ["kind"]


def test_missing_categories_never_count(counts_file):
    import anndata

    data = anndata.read_h5ad(counts_file)
    data.obs.loc["cell0", "kind"] = np.nan
    data.write_h5ad(counts_file)
    labels = dataset(counts_file, concepts=("kind",)).annotations().labels
    assert all(np.isnan(column[0]) for column in labels.values())


def test_a_column_that_is_not_there_names_the_nearest(counts_file):
    with pytest.raises(DatasetError, match=r"obs has no column 'kinds'") as error:
        dataset(counts_file, concepts=("kinds",))
    assert "did you mean 'kind'?" in str(error.value)


def test_a_constant_number_is_refused(counts_file):
    import anndata

    data = anndata.read_h5ad(counts_file)
    data.obs["flat"] = 1.0
    data.write_h5ad(counts_file)
    with pytest.raises(DatasetError, match="'flat' is constant or empty"):
        dataset(counts_file, concepts=("flat",)).annotations()


def test_cells_of_one_name_are_refused(counts_file):
    import anndata

    data = anndata.read_h5ad(counts_file)
    data.obs_names = ["same", "same", *data.obs_names[2:]]
    data.write_h5ad(counts_file)
    with pytest.raises(DatasetError, match="1 cells share an obs name, e.g. 'same'"):
        dataset(counts_file)


def test_a_file_that_is_no_h5ad_is_named(tmp_path):
    path = tmp_path / "broken.h5ad"
    path.write_bytes(b"not hdf5")
    with pytest.raises(DatasetError, match=r"broken\.h5ad cannot be read as h5ad"):
        dataset(path)
    with pytest.raises(DatasetError, match="does not exist"):
        dataset(tmp_path / "nowhere.h5ad")


def test_gene_names_from_a_column_of_var(counts_file):
    assert dataset(counts_file, var_names="symbol").features().names[:2] == ["G0", "G1"]
    with pytest.raises(DatasetError, match="var has no column 'symbols'"):
        dataset(counts_file, var_names="symbols").features()


def test_backed_files_give_the_same_tokens(counts_file):
    rows = [5, 6, 40]
    found = []
    for backed in (False, True):
        data = dataset(counts_file, backed=backed)
        extractor = TableConfig().build(data)
        points = extractor.resolve([_hook("X")])
        inputs = extractor.collate([extractor.prepare(data.load(row)) for row in rows])
        found.append(extractor.extract(rows, inputs, points).tokens[points[0].name].values)
    assert (found[0] == found[1]).all()


def test_the_content_decides_the_fingerprint(counts_file):
    import anndata

    before = dataset(counts_file).fingerprint()
    assert dataset(counts_file).fingerprint() == before
    data = anndata.read_h5ad(counts_file)
    data.X[0, 0] += 1
    data.write_h5ad(counts_file)
    assert dataset(counts_file).fingerprint() != before


def test_every_table_is_a_hook_point(counts_file):
    data = dataset(counts_file)
    extractor = TableConfig().build(data)
    points = extractor.resolve([_hook("X"), _hook("layers/half"), _hook("obsm/X_pca")])
    assert [point.width for point in points] == [12, 12, 5]
    assert [point.axes for point in points] == [(), (), ()]


def test_cells_are_only_read_from_cells(counts_file):
    from omnisae.extract.dataset import Dataset

    class Other(Dataset):
        ids = ("a",)

        def load(self, row): ...

        def fingerprint(self):
            return ""

    with pytest.raises(ConfigError, match="reads cells, and the dataset is a Other"):
        TableConfig().build(Other())


def _hook(at):
    from omnisae.config import HookConfig

    return HookConfig(at=at)
