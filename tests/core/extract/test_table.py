import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
import torch

from omnisae.config import HookConfig
from omnisae.errors import ConfigError, DatasetError, HookError
from omnisae.extract.configs import TableDatasetConfig, VectorsConfig
from omnisae.extract.gather import gather
from omnisae.extract.table import TableExtractor

MATRIX = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


@pytest.fixture
def npy(tmp_path):
    np.save(tmp_path / "x.npy", MATRIX)
    (tmp_path / "ids.txt").write_text("".join(f"e{i}\n" for i in range(6)))
    return tmp_path


def dataset(folder, **more):
    return TableDatasetConfig(path=folder / "x.npy", ids=folder / "ids.txt", **more).build()


class Sorted:
    """A table on disk that takes ascending rows without repeats only, as h5py does."""

    shape = MATRIX.shape

    def __getitem__(self, rows):
        assert (np.diff(rows) > 0).all()
        return MATRIX[rows]


def test_tables_of_every_kind_give_their_rows(tmp_path):
    np.save(tmp_path / "m.npy", MATRIX)
    tables = {
        "dense": MATRIX,
        "mapped": np.load(tmp_path / "m.npy", mmap_mode="r"),
        "sparse": sp.csr_matrix(MATRIX),
        "sorted": Sorted(),
        "double": MATRIX.astype(np.float64),
    }
    extractor = TableExtractor(tables, "f")
    points = extractor.resolve([HookConfig(at="*"), HookConfig(at=("dense", "sparse"), name="both")])
    rows = (4, 0, 4, 5)
    found = extractor.extract(rows, rows, points).tokens
    for name in tables:
        assert torch.equal(found[name].values, torch.from_numpy(MATRIX[list(rows)])), name
    assert found["both"].values.shape == (4, 6)
    assert found["both"].example.tolist() == list(rows)
    assert found["both"].coords.shape == (4, 0)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"at": "vectros"}, "there is no table 'vectros'\n  → did you mean 'vectors'?"),
        ({"at": "z*"}, "no table matches 'z*'"),
        ({"at": "vectors", "view": "input"}, "it has no view, selector or call"),
        ({"at": "vectors", "layout": "d example"}, "with the layout 'example d'"),
    ],
)
def test_a_table_has_no_more_than_rows(config, says):
    with pytest.raises(HookError) as caught:
        TableExtractor({"vectors": MATRIX}, "f").resolve([HookConfig(**config)])
    assert says in str(caught.value)


def test_a_npy_file_goes_the_whole_way(npy, memory):
    data = dataset(npy)
    extractor = VectorsConfig().build(data)
    assert extractor.model is None
    assert extractor.parent() is None
    (point,) = extractor.resolve([HookConfig(at="vectors")])
    writer = memory()
    summary = gather(data, extractor, [point], {"vectors": writer})
    assert (summary.examples, summary.tokens) == (6, 6)
    assert np.array_equal(writer.values.numpy(), MATRIX)


def test_labels_are_joined_by_id_and_strangers_counted(npy):
    (npy / "labels.csv").write_text("name,kind,share,age\ne0,cat,0.5,30\ne1,dog,,40\ne5,,1,50\nx,cat,0,1\ny,cat,0,2\n")
    data = dataset(npy, labels_file=npy / "labels.csv", labels_id="name")
    labels = data.annotations().labels
    assert list(labels) == ["kind=cat", "kind=dog", "share", "age=30", "age=40", "age=50"]
    np.testing.assert_array_equal(labels["kind=cat"], [1, 0, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(labels["share"], [0.5, np.nan, np.nan, np.nan, np.nan, 1])
    assert data.notes() == [
        "labels.csv: 2 of 5 rows join no example ('x', 'y')",
        "labels.csv: 3 of 6 examples have no row ('e2', 'e3', 'e4'); unknown everywhere",
    ]
    assert data.groups("kind") == ["cat", "dog", "?2", "?3", "?4", "?5"]
    with pytest.raises(DatasetError, match="no column 'kin' to group by\n.*did you mean 'kind'"):
        data.groups("kin")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "id,kind\nx,1\ny,0\n",
            "none of its 2 ids joins one of the 6 examples; it has 'x', 'y', and the",
        ),
        ("name,kind\ne0,1\n", "has no column 'id' to join by"),
        ("id,kind\ne0,1\ne0,0\n", "line 3: the id 'e0' stands there a second time"),
        ("id,kind\ne0\n", "line 2: 1 values under 2 columns"),
        ("", "is empty"),
    ],
)
def test_labels_that_do_not_fit_are_refused(npy, text, says):
    (npy / "labels.csv").write_text(text)
    with pytest.raises(DatasetError) as caught:
        dataset(npy, labels_file=npy / "labels.csv")
    assert says in str(caught.value)


def test_a_column_of_names_makes_no_concepts(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((150, 2)))
    (tmp_path / "labels.csv").write_text("id,name\n" + "".join(f"{i},n{i}\n" for i in range(150)))
    data = TableDatasetConfig(path=tmp_path / "x.npy", labels_file=tmp_path / "labels.csv").build()
    assert not data.annotations().labels
    assert data.notes() == ["column 'name' makes no concepts: 150 different values (at most 100)"]


def test_parquet_by_columns_and_by_lists(tmp_path):
    columns = {f"v{i}": MATRIX[:, i] for i in range(3)}
    extra = {"id": [f"e{i}" for i in range(6)], "kind": ["a", "b", None, "a", "b", "a"], "good": [True, False] * 3}
    pq.write_table(pa.table({**extra, **columns}), tmp_path / "wide.parquet")
    pq.write_table(pa.table({**extra, "v": MATRIX.tolist(), "n": range(6)}), tmp_path / "list.parquet")
    for name in ("wide", "list"):
        config = TableDatasetConfig(path=tmp_path / f"{name}.parquet", id="id", labels=("kind", "good"))
        data = config.build()
        np.testing.assert_array_equal(data.matrix, MATRIX)
        assert list(data.ids) == extra["id"]
        assert list(data.annotations().labels) == ["kind=a", "kind=b", "good"]
        np.testing.assert_array_equal(data.annotations().labels["good"], [1, 0] * 3)
    two = TableDatasetConfig(path=tmp_path / "wide.parquet", vectors=("v2", "v0")).build()
    np.testing.assert_array_equal(two.matrix, MATRIX[:, [2, 0]])
    with pytest.raises(DatasetError, match="no column 'v9'"):
        TableDatasetConfig(path=tmp_path / "wide.parquet", vectors=("v9",)).build()


def test_broken_files_are_refused(tmp_path, npy):
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY nonsense")
    (tmp_path / "bad.parquet").write_bytes(b"nonsense")
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    np.save(tmp_path / "objects.npy", np.array([[None]], dtype=object))
    for name, says in {
        "bad.npy": "cannot be read as .npy",
        "bad.parquet": "cannot be read as parquet",
        "cube.npy": "of shape \\[2, 2, 2\\]; wanted are numbers",
        "objects.npy": "cannot be read as .npy",
        "gone.npy": "does not exist",
        "ids.txt": "neither .npy nor .parquet",
    }.items():
        with pytest.raises(DatasetError, match=says):
            TableDatasetConfig(path=tmp_path / name).build()
    (tmp_path / "ids.txt").write_text("a\nb\n")
    with pytest.raises(DatasetError, match="has 2 ids and .* 6 rows"):
        dataset(npy)
    (tmp_path / "ids.txt").write_text("a\nb\nc\na\ne\nf\n")
    with pytest.raises(DatasetError, match="the id 'a' names rows 0 and 3"):
        dataset(npy)


def test_further_tables_must_have_a_row_an_example(npy, numbers):
    np.save(npy / "y.npy", MATRIX[:4])
    with pytest.raises(DatasetError, match="has 4 rows for 6 examples"):
        VectorsConfig(tables={"y": npy / "y.npy"}).build(dataset(npy))
    with pytest.raises(ConfigError, match="core.vectors finds no vectors: the dataset is a Numbers"):
        VectorsConfig().build(numbers())


def test_the_registry_knows_both():
    from omnisae.plugins.kinds import DatasetConfig, ExtractorConfig
    from omnisae.plugins.registry import registry

    assert isinstance(registry().resolve(ExtractorConfig, "core.vectors"), VectorsConfig)
    found = registry().resolve(DatasetConfig, {"type": "core.table", "path": "x.npy"})
    assert isinstance(found, TableDatasetConfig)
