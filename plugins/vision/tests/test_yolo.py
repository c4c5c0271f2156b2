"""YOLO's text files: what is drawn, and what the user is told where it does not fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.errors import DatasetError
from omnisae.testing import DatasetTests
from omnisae_vision.masks import box_mask
from omnisae_vision.plugin_datasets import YoloConfig

SIZE = (40, 80)


@pytest.fixture
def yolo(tmp_path, paint):
    """Write pictures and their text files, and build the dataset: yolo({"1": "0 .5 .5 .2 .2"}, **options)."""

    def build(texts, **options):
        for name in ("1.png", "2.png"):
            paint(tmp_path / "images" / name, SIZE)
        (tmp_path / "labels").mkdir(exist_ok=True)
        for name, text in texts.items():
            (tmp_path / f"labels/{name}.txt").write_text(text)
        return YoloConfig(root=str(tmp_path), **({"names": ("cat", "dog")} | options)).build()

    return build


class TestConformance(DatasetTests):
    @pytest.fixture
    def config(self, tmp_path, yolo):
        yolo({"1": "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.1 0.1\n"})
        return YoloConfig(root=str(tmp_path), names=("cat", "dog"))


def test_boxes_are_fractions_of_the_picture(yolo):
    dataset = yolo({"1": "1 0.5 0.5 0.25 0.5\n\n0 0.0625 0.125 0.125 0.25\n"})
    dog, cat = dataset.annotations().regions(0)
    assert (dog.concept, dog.instance, cat.concept, cat.instance) == ("dog", 1, "cat", 2)
    wanted = np.zeros(SIZE, dtype=bool)
    wanted[10:30, 30:50] = True
    np.testing.assert_array_equal(dog.place.where, wanted)
    assert cat.place.where[:10, :10].all()
    assert cat.place.where.sum() == 100


def test_polygons_too(yolo):
    dataset = yolo({"1": "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"})
    (cat,) = dataset.annotations().regions(0)
    assert cat.place.where[11:29, 21:59].all()
    assert not cat.place.where[:9].any()
    assert abs(int(cat.place.where.sum()) - 20 * 40) <= 2 * (20 + 40)


def test_pictures_without_text_file(yolo):
    assert yolo({"1": ""}).annotations().regions(0) == []
    assert yolo({"1": ""}).annotations().regions(1) is None
    dataset = yolo({"1": ""}, missing="empty")
    assert dataset.annotations().regions(1) == []
    assert dataset.notes() == ["1 pictures have no text file and count as without objects"]


@pytest.mark.parametrize("text", ["names: [cat, dog]", "names: {0: cat, 1: dog}", "classes:\n  0: cat\n  1: dog\n"])
def test_names_come_from_yaml(yolo, tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    assert yolo({"1": "1 .5 .5 .5 .5"}, names="data.yaml").annotations().region_concepts == ("cat", "dog")


@pytest.mark.parametrize(
    "text", ["{", "names: 3", "names: [", "train: x", "names: {cat: 0}", "names: !!python/name:os"]
)
def test_names_that_are_none(yolo, tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DatasetError, match="data.yaml (holds no names of classes|cannot be read)"):
        yolo({"1": ""}, names="data.yaml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 .5 .5 .1 .1", r"1.txt, line 1: there is no class '2'"),
        ("cat .5 .5 .1 .1", "there is no class 'cat'"),
        ("0 320 240 50 50", "320 is no fraction of the picture"),
        ("0 .5 -0.2 .1 .1", "-0.2 is no fraction"),
        ("0 nan .5 .1 .1", "nan is no fraction"),
        ("0 .5 .5 .1 x", "does not consist of numbers"),
        ("0 .5 .5 .1", "holds 3 numbers behind the class"),
        ("0 .5 .5 .1 .1 .9", "holds 5 numbers behind the class"),
        ("0 .5 .5 0 .1", "a box of 0 × 0.1 has no extent"),
    ],
)
def test_lines_that_are_wrong_are_named(yolo, line, message):
    with pytest.raises(DatasetError, match=message):
        yolo({"1": line})


def test_boxes_beyond_the_edge_are_cut_and_counted(yolo):
    dataset = yolo({"1": "0 0.95 0.5 0.2 0.5", "2": "0 .5 .5 .1 .1"})
    (cat,) = dataset.annotations().regions(0)
    assert cat.place.where[:, 68:].any()
    assert cat.place.where.sum() == 20 * 12
    assert dataset.notes() == ["1 boxes reach beyond their picture's edge and are cut off there"]


def test_the_same_line_twice_counts_once(yolo):
    with pytest.warns(UserWarning, match="1 objects stand twice and count once"):
        dataset = yolo({"1": "0 .5 .5 .1 .1\n1 .5 .5 .1 .1\n0 .5 .5 .1 .1\n"})
    assert [r.concept for r in dataset.annotations().regions(0)] == ["cat", "dog"]


def test_files_that_join_nothing(yolo, tmp_path):
    with pytest.raises(DatasetError, match="none of the 1 ids in the files in .*labels names one of the 2 pictures"):
        yolo({"x": ""})
    (tmp_path / "labels/x.txt").unlink()
    with pytest.raises(DatasetError, match="holds no .txt file"):
        yolo({})
    with pytest.raises(DatasetError, match="there is no folder of text files"):
        yolo({}, labels="nowhere")


@given(st.floats(-20, 60), st.floats(-20, 60), st.floats(0.01, 60), st.floats(0.01, 60))
@settings(max_examples=200, deadline=None)
def test_a_box_holds_the_pixels_whose_centres_lie_in_it(left, top, width, height):
    size = (30, 40)
    found = box_mask(left, top, left + width, top + height, size)
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    within = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    if left >= 40 or top >= 30 or left + width <= 0 or top + height <= 0:
        assert found is None
    elif within.any():
        np.testing.assert_array_equal(found, within)
    else:
        assert found.any(), "a box narrower than a pixel still has one"


def test_real_boxes_hold_the_real_masks(photos):
    """Boxes and masks of the same COCO pictures: nearly all pixels of a class lie in its boxes."""
    from omnisae_vision.plugin_datasets import ImageFolderConfig
    from omnisae_vision.yolo_file import read_names

    root = photos / "coco_open"
    names = read_names(root / "classes.yaml")
    boxes = YoloConfig(root=str(root), labels="boxes_yolo", names=tuple(COCO_80), missing="empty").build()
    values = {number: name for number, name in names.items() if name in COCO_80}
    masks = ImageFolderConfig(root=str(root), classes=False, masks="semantic_masks", mask_values=values).build()
    assert list(boxes.ids) == list(masks.ids)
    of_boxes, of_masks = boxes.annotations().regions, masks.annotations().regions
    inside = total = 0
    for row in range(len(boxes)):
        for region in of_masks(row) or ():
            same = [b.place.where for b in of_boxes(row) if b.concept == region.concept]
            total += int(region.place.where.sum())
            inside += int((region.place.where & np.any(same, axis=0)).sum()) if same else 0
    assert total > 100_000
    assert inside / total > 0.9


COCO_80 = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
]
