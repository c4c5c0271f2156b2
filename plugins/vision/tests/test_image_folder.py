"""The dataset: what is found, how it is joined, and what the user is told where it does not fit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnisae.concepts.annotations import Mask
from omnisae.errors import DatasetError, PluginError, UnreadableExample
from omnisae.testing import DatasetTests
from omnisae_vision.plugin_datasets import ImageFolderConfig


class TestConformance(DatasetTests):
    @pytest.fixture
    def config(self, shapes):
        return ImageFolderConfig(root=str(shapes), masks="masks", attributes="attributes.csv")


def build(root: Path, **options):
    return ImageFolderConfig(root=str(root), **options).build()


def test_imagefolders_rules(tmp_path, paint):
    for name in ("b/2.JPG", "a/deep/1.png", "a/0.TIFF", "b/.hidden.png", "beside.png"):
        paint(tmp_path / name)
    (tmp_path / "a/notes.txt").write_text("x")
    dataset = build(tmp_path)
    assert list(dataset.ids) == ["a/0", "a/deep/1", "b/2"]
    assert dataset.labels() == {"class": ["a", "a", "b"]}
    assert dataset.annotations().labels["class=b"].tolist() == [0, 0, 1]


def test_a_flat_folder_has_no_classes(tmp_path, paint):
    paint(tmp_path / "1.png")
    dataset = build(tmp_path)
    assert list(dataset.ids) == ["1"]
    assert not dataset.labels()
    assert not dataset.annotations().labels


def test_folders_need_not_be_classes(tmp_path, paint):
    paint(tmp_path / "2021/1.png")
    (tmp_path / "2022").mkdir()
    assert list(build(tmp_path, classes=False).ids) == ["2021/1"]


def test_pictures_that_differ_by_their_ending_keep_it(tmp_path, paint):
    paint(tmp_path / "a/1.png"), paint(tmp_path / "a/1.jpg"), paint(tmp_path / "a/2.png")
    assert list(build(tmp_path).ids) == ["a/1.jpg", "a/1.png", "a/2"]


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    values = np.full((8, 10, 3), 200, dtype=np.uint8)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    Image.fromarray(values).convert(mode).save(path)
    picture = build(tmp_path).load(0).input
    assert (picture.mode, picture.size) == ("RGB", (10, 8))
    assert abs(int(np.asarray(picture).mean()) - 200) < (60 if mode == "1" else 8)


def test_sixteen_bits_are_scaled(tmp_path):
    Image.fromarray(np.array([[0, 32_768, 65_535]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(build(tmp_path).load(0).input)[0, :, 0].tolist() == [0, 128, 255]


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableExample, match="floating-point pixels has no known white"):
        build(tmp_path).load(0)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "CMYK", "I;16"])
def test_a_model_takes_every_mode(tmp_path, mode):
    """From the file to the tensor a model sees, and to the picture that a report shows."""
    from omnisae_vision.plugin import TimmConfig

    grey = np.full((40, 56), 200, dtype=np.uint16 if mode == "I;16" else np.uint8)
    picture = (
        Image.fromarray(grey * np.uint16(257)) if mode == "I;16" else Image.fromarray(grey).convert("RGB").convert(mode)
    )
    picture.save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
    dataset = build(tmp_path)
    extractor = TimmConfig(model="resnet10t", image_size=32, device="cpu").build(dataset)
    example = dataset.load(0)
    assert tuple(extractor.prepare(example).shape) == (3, 32, 32)
    assert abs(float(extractor.picture(example).mean()) - 200) < (60 if mode == "1" else 8)


def test_transparency_lies_over_white(tmp_path):
    Image.fromarray(np.zeros((4, 4, 4), dtype=np.uint8), mode="RGBA").save(tmp_path / "a.png")
    assert np.asarray(build(tmp_path).load(0).input).min() == 255


def test_exif_turns_only_where_asked(tmp_path, paint):
    path = paint(tmp_path / "a.jpg", (20, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)
    assert build(tmp_path).load(0).input.size == (30, 20)
    assert build(tmp_path, exif=True).load(0).input.size == (20, 30)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("harm", ["truncated", "empty", "text"])
def test_a_broken_picture_is_named(tmp_path, paint, harm, ending):
    path = paint(tmp_path / f"a/broken.{ending}")
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"no picture"}[harm])
    with pytest.raises(UnreadableExample, match=rf"broken\.{ending} cannot be read"):
        build(tmp_path).load(0)


def test_no_folder_and_no_picture(tmp_path):
    with pytest.raises(DatasetError, match="there is no folder"):
        build(tmp_path / "absent")
    with pytest.raises(DatasetError, match="holds no picture"):
        build(tmp_path)


def test_an_empty_class_is_named(tmp_path, paint):
    paint(tmp_path / "a/1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(DatasetError, match="1 of 2 class folders .* hold no picture: 'b'"):
        build(tmp_path)


def test_attributes_become_concepts(tmp_path, paint, table):
    for i in range(4):
        paint(tmp_path / f"images/a/{i}.png")
    header = ["id", "wild", "share", "coat", "owner"]
    table(
        tmp_path / "t.csv",
        header,
        [["a/0", 1, 0.25, "red", "x"], ["1", "no", "", "", "x"], ["a/2.png", "", 1, "tan", "y"]],
    )
    dataset = build(tmp_path, attributes="t.csv", group="owner")
    annotations = dataset.annotations()
    np.testing.assert_array_equal(annotations.labels["wild"], [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(annotations.labels["share"], [0.25, np.nan, 1, np.nan])
    np.testing.assert_array_equal(annotations.labels["coat=red"], [1, np.nan, 0, np.nan])
    assert annotations.fractions() == ["share"]
    assert dataset.labels()["coat"] == ["red", "unknown", "tan", "unknown"]
    assert list(dataset.groups("owner")) == ["x", "x", "y", "unknown"]
    assert "owner" not in dataset.labels()
    assert not any("owner" in name for name in annotations.labels)


def test_labels_that_join_nothing(tmp_path, paint, table):
    paint(tmp_path / "a/1.png")
    table(tmp_path / "t.csv", ["id", "wild"], [["x", 1], ["y", 0]])
    with pytest.raises(
        DatasetError, match="none of the 2 ids in .*t.csv names one of the 1 pictures: 'x', 'y' there, 'a/1'"
    ):
        build(tmp_path, attributes="t.csv")


def test_labels_that_join_in_part_are_counted(tmp_path, paint, table):
    paint(tmp_path / "a/1.png")
    table(tmp_path / "t.csv", ["id", "wild"], [["a/1", 1], ["y", 0]])
    with pytest.warns(UserWarning, match="1 of 2 ids name no picture: 'y'"):
        build(tmp_path, attributes="t.csv")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([["1", 7]], {}, "line 2: wild is 7; attributes are 0, 1, fractions"),
        ([["1", 1], ["a/1", 1]], {}, "line 3: the picture 'a/1' stands already in line 2"),
        ([["1", 1, 1]], {}, "line 2: 3 values for 2 columns"),
        ([["1", 1]], {"columns": ("wilt",)}, "no column 'wilt'"),
        ([["1", 1]], {"id": "name"}, "no column 'name'"),
        ([["1", 1]], {"attributes": "tt.csv"}, "there is no file"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, paint, table, rows, options, message):
    paint(tmp_path / "a/1.png")
    table(tmp_path / "t.csv", ["id", "wild"], rows)
    with pytest.raises(DatasetError, match=message):
        build(tmp_path, **{"attributes": "t.csv", **options})


def masked(tmp_path, paint, table, numbers, rows, size=None):
    paint(tmp_path / "images/a/1.png", numbers.shape if size is None else size)
    paint(tmp_path / "images/a/2.png")
    (tmp_path / "masks/a").mkdir(parents=True)
    Image.fromarray(numbers).save(tmp_path / "masks/a/1.png")
    if rows is not None:
        table(tmp_path / "masks.csv", ["id", "instance", "concept"], rows)
    return tmp_path


@pytest.mark.parametrize("bits", [np.uint8, np.uint16])
def test_instances_have_several_concepts(tmp_path, paint, table, bits):
    numbers = np.zeros((30, 20), dtype=bits)
    numbers[2:9, 3:8], numbers[12:20, 1:19] = 1, 200
    root = masked(tmp_path, paint, table, numbers, [["a/1", 1, "red"], ["a/1", 1, "ring"], ["a/1", 200, "red"]])
    annotations = build(root, masks="masks").annotations()
    assert annotations.region_concepts == ("red", "ring")
    found = annotations.regions(0)
    assert [(r.concept, r.instance) for r in found] == [("red", 1), ("ring", 1), ("red", 200)]
    assert isinstance(found[2].place, Mask)
    np.testing.assert_array_equal(found[2].place.where, numbers == 200)
    assert annotations.regions(1) is None, "a picture without mask is not annotated"


def test_numbers_that_mean_the_same_everywhere(tmp_path, paint, table):
    numbers = np.array([[0, 1], [2, 2]], dtype=np.uint8)
    root = masked(tmp_path, paint, table, numbers, None)
    annotations = build(root, masks="masks", mask_values={1: "cat", 2: "sofa", 3: "dog"}).annotations()
    assert annotations.region_concepts == ("cat", "dog", "sofa")
    assert [(r.concept, int(r.place.where.sum())) for r in annotations.regions(0)] == [("cat", 1), ("sofa", 2)]


def test_masks_beside_the_classes_are_no_class(tmp_path, paint):
    paint(tmp_path / "a/1.png", (8, 8))
    (tmp_path / "masks/a").mkdir(parents=True)
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "masks/a/1.png")
    assert list(build(tmp_path, masks="masks", mask_values={1: "x"}).ids) == ["a/1"]


def test_a_mask_of_another_size(tmp_path, paint, table):
    root = masked(tmp_path, paint, table, np.ones((30, 20), np.uint8), [["a/1", 1, "red"]], size=(30, 21))
    with pytest.raises(DatasetError, match="is 20 × 30 pixels and its picture .* 21 × 30"):
        build(root, masks="masks")


def test_masks_without_meaning(tmp_path, paint, table):
    root = masked(tmp_path, paint, table, np.ones((30, 20), np.uint8), None)
    with pytest.raises(DatasetError, match="nothing says what their numbers are"):
        build(root, masks="masks")


def test_masks_in_colour(tmp_path, paint, table):
    root = masked(tmp_path, paint, table, np.ones((30, 20), np.uint8), [["a/1", 1, "red"]])
    paint(root / "masks/a/1.png", (30, 20))
    with pytest.raises(DatasetError, match="mode RGB; a mask holds one whole number a pixel"):
        build(root, masks="masks").annotations().regions(0)


def test_an_instance_that_is_not_there_is_told(tmp_path, paint, table):
    root = masked(tmp_path, paint, table, np.ones((30, 20), np.uint8), [["a/1", 1, "red"], ["a/1", 2, "red"]])
    annotations = build(root, masks="masks").annotations()
    with pytest.warns(UserWarning, match="no pixel of instance 2"):
        assert len(annotations.regions(0)) == 1


def test_the_fingerprint_follows_the_files(tmp_path, paint):
    paint(tmp_path / "a/1.png")
    before = build(tmp_path).fingerprint()
    assert build(tmp_path).fingerprint() == before
    paint(tmp_path / "a/2.png")
    assert build(tmp_path).fingerprint() != before


def test_worlds_need_their_distribution(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "omnisae_datasets", None)
    with pytest.raises(PluginError, match="needs the distribution omnisae-datasets") as caught:
        build(Path("world:shapes"))
    assert "pip install" in caught.value.remedy


def test_the_world_comes_as_it_was_made(shapes):
    dataset = build(shapes, masks="masks", attributes="attributes.csv")
    annotations = dataset.annotations()
    assert len(dataset) == 12
    for row in range(12):
        seen = {region.concept for region in annotations.regions(row)}
        said = {
            name.removeprefix("has_")
            for name in annotations.labels
            if name.startswith("has_") and annotations.labels[name][row]
        }
        assert seen == said
        covered = np.any([region.place.where for region in annotations.regions(row)], axis=0).mean()
        assert covered == pytest.approx(annotations.labels["covered"][row], abs=1e-5)
