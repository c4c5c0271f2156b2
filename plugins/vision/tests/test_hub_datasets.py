"""Hugging Face datasets: what is read from disk, parquet and folders, and what the user is told where it is wrong."""

import io
import socket
import sys

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from omnisae.errors import DatasetError, PluginError, UnreadableExample
from omnisae.testing import DatasetTests
from omnisae_vision.plugin_datasets import HubDatasetConfig

library = pytest.importorskip("datasets", reason="the package datasets is not installed")
SIZE = (24, 32)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing here may reach for the network; the library swallows what is raised, so that it is asked afterwards."""
    asked = []

    def refused(*where, **_):
        asked.append(where)
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(library.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(library.config, "HF_UPDATE_DOWNLOAD_COUNTS", True)
    yield asked
    assert not asked


def picture(seed, size=SIZE):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


def mask():
    numbers = np.zeros(SIZE, dtype=np.uint8)
    numbers[2:9, 5:30] = 3
    return Image.fromarray(numbers)


@pytest.fixture
def table_of_three():
    features = library.Features(
        {
            "image": library.Image(),
            "label": library.ClassLabel(names=["cat", "dog"]),
            "name": library.Value("string"),
            "share": library.Value("float32"),
            "coat": library.Value("string"),
            "wild": library.Value("bool"),
            "seg": library.Image(),
            "objects": {
                "bbox": library.List(library.List(library.Value("float32"), length=4)),
                "category": library.List(library.ClassLabel(names=["paw", "ear"])),
            },
        }
    )
    columns = {
        "image": [picture(i) for i in range(3)],
        "label": [1, 0, None],
        "name": ["x", "y", "z"],
        "share": [0.25, None, 1.0],
        "coat": ["red", "tan", None],
        "wild": [True, None, False],
        "seg": [mask(), None, mask()],
        "objects": [
            {"bbox": [[4, 6, 10, 8], [0, 0, 2, 2]], "category": [1, 0]},
            {"bbox": [], "category": []},
            {"bbox": [[40, 0, 3, 3], [30, 20, 9, 9]], "category": [0, 1]},
        ],
    }
    return library.Dataset.from_dict(columns, features=features)


@pytest.fixture
def saved(table_of_three, tmp_path):
    table_of_three.save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def build(path, **options):
    return HubDatasetConfig(path=str(path), cache=str(path.parent / "cache"), **options).build()


ALL = {"id": "name", "attributes": ("share", "coat", "wild"), "boxes": "objects.bbox", "box_labels": "objects.category"}


class TestConformance(DatasetTests):
    @pytest.fixture
    def config(self, saved):
        return HubDatasetConfig(path=str(saved), masks="seg", mask_values={3: "body"}, **ALL)


def check(dataset):
    for row in range(3):
        np.testing.assert_array_equal(np.asarray(dataset.load(row).input), np.asarray(picture(row)))
    labels = dataset.annotations().labels
    np.testing.assert_array_equal(labels["class=dog"], [1, 0, np.nan])
    np.testing.assert_array_equal(labels["share"], [0.25, np.nan, 1])
    np.testing.assert_array_equal(labels["wild"], [1, np.nan, 0])
    np.testing.assert_array_equal(labels["coat=red"], [1, 0, np.nan])
    assert dataset.labels() == {"class": ["dog", "cat", "unknown"], "coat": ["red", "tan", "unknown"]}
    assert list(dataset.ids) == ["x", "y", "z"]
    ear, paw = dataset.annotations().regions(0)
    assert (ear.concept, ear.instance, paw.concept, paw.instance) == ("ear", 1, "paw", 2)
    wanted = np.zeros(SIZE, dtype=bool)
    wanted[6:14, 4:14] = True
    np.testing.assert_array_equal(ear.place.where, wanted)
    assert dataset.annotations().regions(1) == []


def test_saved_to_disk(saved):
    check(build(saved, **ALL))


def test_parquet(table_of_three, tmp_path):
    table_of_three.to_parquet(str(tmp_path / "part-0.parquet"))
    check(build(tmp_path / "part-0.parquet", **ALL))
    check(build(tmp_path / "*.parquet", **ALL))


def test_a_folder_of_parquet_as_on_the_hub(table_of_three, tmp_path):
    (tmp_path / "d/data").mkdir(parents=True)
    table_of_three.to_parquet(str(tmp_path / "d/data/train-00000-of-00001.parquet"))
    table_of_three.select([0]).to_parquet(str(tmp_path / "d/data/test-00000-of-00001.parquet"))
    check(build(tmp_path / "d", **ALL))
    assert len(build(tmp_path / "d", split="test")) == 1


def test_a_folder_of_pictures(tmp_path):
    for i, name in enumerate(("cat/a.png", "cat/b.png", "dog/c.png")):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(tmp_path / "d" / name)
    dataset = build(tmp_path / "d")
    assert dataset.labels() == {"class": ["cat", "cat", "dog"]}
    assert list(dataset.ids) == ["000000", "000001", "000002"]
    np.testing.assert_array_equal(np.asarray(dataset.load(2).input), np.asarray(picture(2)))


def test_parquet_that_other_tools_wrote(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    picture(0).save(out, "PNG")
    pq.write_table(pa.table({"jpeg": [out.getvalue()], "kind": ["cat"]}), tmp_path / "x.parquet")
    dataset = build(tmp_path / "x.parquet", image="jpeg", label="kind")
    np.testing.assert_array_equal(np.asarray(dataset.load(0).input), np.asarray(picture(0)))
    assert dataset.labels() == {"class": ["cat"]}


def test_splits(table_of_three, tmp_path):
    library.DatasetDict({"train": table_of_three, "test": table_of_three.select([1])}).save_to_disk(str(tmp_path / "d"))
    assert (len(build(tmp_path / "d")), len(build(tmp_path / "d", split="test"))) == (3, 1)
    with pytest.raises(DatasetError, match="there is no split 'tests'\n  → did you mean 'test'"):
        build(tmp_path / "d", split="tests")


def test_masks_and_boxes(saved):
    dataset = build(saved, masks="seg", mask_values={3: "body"}, **ALL)
    assert dataset.annotations().region_concepts == ("body", "ear", "paw")
    found = dataset.annotations().regions(0)
    assert [(r.concept, r.instance) for r in found] == [("body", 1), ("ear", 2), ("paw", 3)]
    np.testing.assert_array_equal(found[0].place.where, np.asarray(mask()) == 3)
    only = build(saved, masks="seg", mask_values={3: "body"}).annotations()
    assert only.regions(1) is None, "without mask a picture is not annotated"


def test_boxes_outside_are_passed_over_and_told(saved):
    with pytest.warns(UserWarning, match="box 1 of z lies outside its picture"):
        (ear,) = build(saved, **ALL).annotations().regions(2)
    assert (ear.concept, int(ear.place.where.sum())) == ("ear", 2 * 4)


@pytest.mark.parametrize(
    ("form", "units", "box", "wanted"),
    [
        ("xywh", "pixels", [4, 6, 10, 8], (4, 6, 14, 14)),
        ("xyxy", "pixels", [4, 6, 10, 8], (4, 6, 10, 8)),
        ("cxcywh", "pixels", [9, 10, 10, 8], (4, 6, 14, 14)),
        ("xywh", "fractions", [0.25, 0.25, 0.5, 0.25], (8, 6, 24, 12)),
        ("cxcywh", "fractions", [0.5, 0.5, 0.5, 0.5], (8, 6, 24, 18)),
    ],
)
def test_box_formats(tmp_path, form, units, box, wanted):
    columns = {"image": [picture(0)], "box": [[box]]}
    features = library.Features({"image": library.Image(), "box": library.List(library.List(library.Value("float64")))})
    library.Dataset.from_dict(columns, features=features).save_to_disk(str(tmp_path / "d"))
    dataset = build(tmp_path / "d", boxes="box", box_format=form, box_units=units)
    (found,) = dataset.annotations().regions(0)
    where = np.zeros(SIZE, dtype=bool)
    where[wanted[1] : wanted[3], wanted[0] : wanted[2]] = True
    assert found.concept == "object"
    np.testing.assert_array_equal(found.place.where, where)


@pytest.mark.parametrize(
    ("box", "options", "message"),
    [
        ([4, 6, 2, 8], {"box_format": "xyxy"}, "has no extent as xyxy"),
        ([4, 6, 10, 8], {"box_units": "fractions"}, "is no fraction of the picture"),
        ([4, 6, 10], {}, "where 4 numbers must stand"),
        ([4, 6, float("nan"), 3], {}, "where 4 numbers must stand"),
    ],
)
def test_boxes_that_are_wrong(tmp_path, box, options, message):
    rows = library.Dataset.from_dict({"image": [picture(0)], "box": [[[float(n) for n in box]]]})
    rows.cast_column("image", library.Image()).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(DatasetError, match=message):
        build(tmp_path / "d", boxes="box", **options).annotations().regions(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "img"}, "dataset.image: the dataset has no column 'img'"),
        ({"image": "share"}, "dataset.image: column 'share' holds .*, no pictures"),
        ({"label": "labels"}, "dataset.label: the dataset has no column 'labels'\n  → did you mean 'label'"),
        ({"boxes": "objects.box"}, "no column 'objects.box'\n  → did you mean 'objects.bbox'"),
        ({"attributes": ("objects",)}, "column 'objects', row 0: dict is no single value"),
        ({"id": "coat"}, "column 'coat' holds '' in rows 2 and 2"),
        ({"id": "wild"}, "column 'wild' holds ''"),
        ({"boxes": "objects.bbox", "box_labels": "objects.category", "box_names": ("x",)}, "a box has the label 1"),
    ],
)
def test_columns_that_are_not_there(saved, options, message):
    with pytest.raises(DatasetError, match=message):
        build(saved, **options).annotations().labels and build(saved, **options).annotations().regions(0)


def test_ids_that_stand_twice(table_of_three, tmp_path):
    twice = table_of_three.select([0, 1, 0])
    twice.save_to_disk(str(tmp_path / "d"))
    with pytest.raises(DatasetError, match="column 'name' holds 'x' in rows 0 and 2"):
        build(tmp_path / "d", id="name")


def test_broken_pictures_cost_one_example(tmp_path):
    out = io.BytesIO()
    picture(0).save(out, "JPEG")
    held = [out.getvalue()[:200], b"", None, out.getvalue()]
    rows = library.Dataset.from_dict({"image": [None if b is None else {"bytes": b, "path": None} for b in held]})
    rows.cast_column("image", library.Image(decode=False)).save_to_disk(str(tmp_path / "d"))
    dataset = build(tmp_path / "d")
    for row, message in enumerate(("image of 000000 cannot be read", "cannot be read", "image of 000002 is empty")):
        with pytest.raises(UnreadableExample, match=message):
            dataset.load(row)
    assert dataset.load(3).input.size == (32, 24)


def test_pictures_elsewhere_are_not_fetched(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = pa.array(
        [{"bytes": None, "path": "https://host/a.png"}], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    pq.write_table(pa.table({"image": held}), tmp_path / "x.parquet")
    with pytest.raises(UnreadableExample, match="which is not on this machine"):
        build(tmp_path / "x.parquet").load(0)


def test_paths_that_hold_nothing(tmp_path):
    with pytest.raises(DatasetError, match="there is no file or folder") as caught:
        build(tmp_path / "nowhere")
    assert "hf-hub:owner/name" in caught.value.remedy
    (tmp_path / "x.csv").write_text("a")
    with pytest.raises(DatasetError, match="is no .parquet file"):
        build(tmp_path / "x.csv")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/notes.txt.gz").write_bytes(b"")
    with pytest.raises(DatasetError, match="cannot be read as a dataset of pictures"):
        build(tmp_path / "d")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Field required"),
        ({"path": "x", "revision": "main"}, "dataset.revision is about the hub"),
        ({"path": "x", "box_labels": "y"}, "name the boxes"),
        ({"path": "x", "masks": "y"}, "go together"),
        ({"path": "x", "transforms": "y"}, "nothing is augmented"),
    ],
)
def test_configs_that_contradict_themselves(options, message):
    with pytest.raises(ValidationError, match=message):
        HubDatasetConfig(**options)


def test_the_hub_is_asked_only_where_it_is_named(no_network):
    with pytest.raises(DatasetError, match="'nobody/nothing' of the hub cannot be read") as caught:
        HubDatasetConfig(path="hf-hub:nobody/nothing").build()
    assert "network" in caught.value.remedy
    assert no_network, "here it may"
    no_network.clear()


def test_without_the_library_the_user_is_told(monkeypatch, saved):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PluginError, match="needs the package datasets") as caught:
        build(saved)
    assert "omnisae-vision[hub]" in caught.value.remedy


@pytest.mark.parametrize("where", ["https://example.org/a.parquet", "hf://datasets/owner/name/a.parquet"])
def test_a_folder_whose_readme_names_data_elsewhere_fetches_nothing(tmp_path, where):
    (tmp_path / "README.md").write_text(
        f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {where}\n---\n"
    )
    picture(0).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=rf"README.md says that data lie at {where}, and nothing is fetched"):
        HubDatasetConfig(path=str(tmp_path), cache=str(tmp_path / "cache")).build()
