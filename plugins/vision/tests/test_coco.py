"""COCO's JSON: what is drawn, and what the user is told where it does not fit."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pydantic import ValidationError

from omnisae.errors import DatasetError, PluginError
from omnisae.testing import DatasetTests
from omnisae_vision.coco_shapes import drawn
from omnisae_vision.plugin_datasets import CocoConfig

mask_tools = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")

SIZE = (40, 56)
CATEGORIES = [
    {"id": 1, "name": "cat", "supercategory": "animal"},
    {"id": 7, "name": "dog", "supercategory": "animal"},
    {"id": 9, "name": "sofa", "supercategory": "furniture"},
]


def image(number, name, size=SIZE):
    return {"id": number, "file_name": name, "height": size[0], "width": size[1]}


def annotation(number, where, category, **shape):
    return {"id": number, "image_id": where, "category_id": category, "iscrowd": 0, **shape}


@pytest.fixture
def coco(tmp_path, paint):
    """Write pictures and a JSON, and build the dataset: coco(annotations, images=…, **options)."""

    def build(given, images=None, categories=CATEGORIES, **options):
        for name in ("1.jpg", "2.jpg", "3.jpg"):
            paint(tmp_path / "images" / name, SIZE)
        listed = images if images is not None else [image(11, "1.jpg"), image(12, "2.jpg")]
        held = {"images": listed, "annotations": given, "categories": categories}
        (tmp_path / "a.json").write_text(json.dumps(held))
        return CocoConfig(root=str(tmp_path), **({"annotations": "a.json"} | options)).build()

    return build


SQUARE = annotation(1, 11, 1, segmentation=[[4, 6, 20, 6, 20, 16, 4, 16]], bbox=[4, 6, 16, 10])


class TestConformance(DatasetTests):
    @pytest.fixture
    def config(self, tmp_path, coco):
        coco([SQUARE, annotation(2, 12, 7, bbox=[0, 0, 5, 5])])
        return CocoConfig(root=str(tmp_path), annotations=("a.json",))


def regions(dataset, row=0):
    return dataset.annotations().regions(row)


# -- what is drawn ----------------------------------------------------------------------------------------------------


def test_polygons_boxes_and_run_lengths_say_the_same(coco):
    where = np.zeros(SIZE, dtype=bool)
    where[6:16, 4:20] = True
    packed = mask_tools.encode(np.asfortranarray(where.astype(np.uint8)))
    runs = np.flatnonzero(np.diff(np.r_[0, where.T.ravel().astype(int), 0]))
    counts = np.diff(np.r_[0, runs, where.size])
    dataset = coco(
        [
            SQUARE,
            annotation(2, 11, 7, bbox=[4, 6, 16, 10]),
            annotation(3, 11, 9, segmentation={"size": list(SIZE), "counts": packed["counts"].decode()}),
            annotation(4, 11, 1, segmentation={"size": list(SIZE), "counts": counts.tolist()}, iscrowd=1),
        ]
    )
    found = regions(dataset)
    assert [(r.concept, r.instance) for r in found] == [("cat", 1), ("dog", 2), ("sofa", 3), ("cat", 4)]
    for region in found:
        np.testing.assert_array_equal(region.place.where, where)


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
@settings(max_examples=60, deadline=None)
def test_run_lengths_give_back_every_mask(where):
    packed = mask_tools.encode(np.asfortranarray(where.astype(np.uint8)))
    edges = np.flatnonzero(np.diff(np.r_[0, where.T.ravel().astype(int)]))
    counts = np.diff(np.r_[0, edges, where.size]).tolist()
    for held in (packed["counts"].decode(), packed["counts"], counts):
        found = drawn("it", {"size": list(where.shape), "counts": held}, None, where.shape)
        np.testing.assert_array_equal(found, where)


@given(st.lists(st.tuples(st.floats(2, 54), st.floats(2, 38)), min_size=3, max_size=3, unique=True))
@settings(max_examples=60, deadline=None)
def test_a_triangle_holds_the_pixels_within(corners):
    """By the cross products of its edges; only pixels that an edge comes near may differ."""
    found = drawn("it", [[float(n) for corner in corners for n in corner]], None, SIZE)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    distance, sides = np.full(SIZE, np.inf), []
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        along = np.array([x1 - x0, y1 - y0])
        length = np.hypot(*along)
        if length < 1e-9:
            return
        share = np.clip(((x - x0) * along[0] + (y - y0) * along[1]) / length**2, 0, 1)
        distance = np.minimum(distance, np.hypot(x - x0 - share * along[0], y - y0 - share * along[1]))
        sides.append((x - x0) * along[1] - (y - y0) * along[0])
    within = np.all(np.stack(sides) > 0, axis=0) | np.all(np.stack(sides) < 0, axis=0)
    clear = distance > 1.5
    np.testing.assert_array_equal(found[clear], within[clear])


def test_what_lies_outside_is_cut_off(coco):
    dataset = coco(
        [
            annotation(1, 11, 1, segmentation=[[-10, -10, 8, -10, 8, 8, -10, 8]]),
            annotation(2, 11, 7, bbox=[50, 30, 40, 40]),
        ]
    )
    cat, dog = regions(dataset)
    assert cat.place.where[:8, :8].all()
    assert not cat.place.where[9:].any()
    assert dog.place.where.sum() == 10 * 6


def test_pictures_that_are_not_listed_are_not_annotated(coco):
    dataset = coco([SQUARE])
    annotations = dataset.annotations()
    assert annotations.region_concepts == ("cat", "dog", "sofa")
    assert annotations.regions(1) == [], "listed without objects: a true negative"
    assert annotations.regions(2) is None


def test_categories_supercategories_and_crowds(coco):
    held = [SQUARE, annotation(2, 11, 9, bbox=[0, 0, 9, 9]), annotation(3, 11, 1, bbox=[1, 1, 3, 3]) | {"iscrowd": 1}]
    dataset = coco(held, supercategories=True, crowd="drop")
    assert [(r.concept, r.instance) for r in regions(dataset)] == [
        ("cat", 1), ("animal", 1), ("sofa", 2), ("furniture", 2),
    ]  # fmt: skip
    dataset = CocoConfig(**(dataset._config.model_dump() | {"categories": ("cat",), "supercategories": False})).build()
    assert dataset.annotations().region_concepts == ("cat",)
    assert [r.concept for r in regions(dataset)] == ["cat"]


def test_ids_may_be_text(coco):
    given = [annotation("a", "one", "c", bbox=[0, 0, 4, 4])]
    dataset = coco(given, images=[image("one", "1.jpg")], categories=[{"id": "c", "name": "cat"}])
    assert [r.concept for r in regions(dataset)] == ["cat"]
    with pytest.raises(DatasetError, match=r"the id of category number 0 is \[1\]; an id is a whole number or text"):
        coco(given, categories=[{"id": [1], "name": "cat"}])


def panoptic(root, numbers, segments, name="p"):
    colours = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65_536], axis=-1).astype(np.uint8)
    (root / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours).save(root / name / "1.png")
    held = {"image_id": 11, "file_name": "1.png", "segments_info": segments}
    document = {"images": [image(11, "1.jpg"), image(12, "2.jpg")], "annotations": [held], "categories": CATEGORIES}
    (root / f"{name}.json").write_text(json.dumps(document))


def test_panoptic_segments(coco, tmp_path):
    numbers = np.zeros(SIZE, dtype=np.int64)
    numbers[:10], numbers[20:30, 5:9] = 70_123, 255
    panoptic(tmp_path, numbers, [{"id": 70_123, "category_id": 9}, {"id": 255, "category_id": 1}])
    dataset = coco([], annotations="p.json")
    found = regions(dataset)
    assert [(r.concept, r.instance) for r in found] == [("sofa", 1), ("cat", 2)]
    np.testing.assert_array_equal(found[0].place.where, numbers == 70_123)
    np.testing.assert_array_equal(found[1].place.where, numbers == 255)
    assert dataset.annotations().regions(1) is None, "a panoptic file annotates the pictures that have a PNG"
    before = dataset.fingerprint()
    numbers[0] = 255
    panoptic(tmp_path, numbers, [{"id": 70_123, "category_id": 9}, {"id": 255, "category_id": 1}])
    assert coco([], annotations="p.json").fingerprint() != before


def test_several_files_add_up(coco, tmp_path):
    numbers = np.zeros(SIZE, dtype=np.int64)
    numbers[:10] = 3
    panoptic(tmp_path, numbers, [{"id": 3, "category_id": 9}])
    dataset = coco([SQUARE], annotations=("a.json", "p.json"))
    assert [(r.concept, r.instance) for r in regions(dataset)] == [("cat", 1), ("sofa", 2)]


def test_names_with_folders_join(coco):
    dataset = coco([SQUARE], images=[image(11, "val2017/1.jpg"), image(12, "2.jpg")])
    assert [r.concept for r in regions(dataset)] == ["cat"]


# -- what does not fit ------------------------------------------------------------------------------------------------


def test_boxes_outside_are_counted(coco):
    dataset = coco(
        [SQUARE, annotation(2, 11, 1, bbox=[56, 0, 4, 4]), annotation(3, 11, 7, bbox=[3, 3, 0, 4])],
    )
    assert len(regions(dataset)) == 1
    (note,) = {n.partition(", e.g.")[0] for n in dataset.notes()}
    assert note.endswith("annotations of a.json lie outside their picture or have no extent")


def test_boxes_that_are_all_outside_are_an_error(coco):
    with pytest.raises(DatasetError, match="all 1 annotations of .*a.json lie outside their pictures"):
        coco([annotation(2, 11, 1, bbox=[560, 400, 4, 4])])


def test_pictures_that_are_not_there_are_counted(coco):
    with pytest.warns(UserWarning, match="1 of 2 ids name no picture"):
        dataset = coco([SQUARE], images=[image(11, "1.jpg"), image(12, "nowhere.jpg")])
    assert dataset.notes() == ["1 pictures that a.json lists are not there"]
    with pytest.raises(DatasetError, match="none of the 1 ids in .*a.json names one of the 3 pictures"):
        coco([SQUARE], images=[image(11, "nowhere.jpg")])


ONE, TWO = image(11, "1.jpg"), image(12, "2.jpg")


@pytest.mark.parametrize(
    ("annotations", "options", "message"),
    [
        ([SQUARE], {"images": [ONE, image(11, "2.jpg")]}, "the image id 11 stands twice, for '1.jpg' and '2.jpg'"),
        ([SQUARE], {"images": [ONE, image(12, "1.jpg")]}, "lists the picture '1' twice, as images 11 and 12"),
        ([SQUARE], {"images": [image(11, "1.jpg", (41, 56)), TWO]}, "is 56 × 41 pixels, and it is 56 × 40"),
        ([SQUARE], {"images": [image(11, "1.jpg", (-1, 56)), TWO]}, "image 11 is 56 × -1 pixels"),
        ([SQUARE], {"images": [{"id": 11}]}, "image number 0 has no 'file_name'"),
        ([SQUARE], {"categories": [*CATEGORIES, CATEGORIES[0]]}, "the category id 1 stands twice"),
        ([SQUARE, SQUARE], {}, "a.json, annotation 1 stands twice"),
        ([annotation(5, 13, 1, bbox=[0, 0, 2, 2])], {}, "annotation 5 names the image 13, which the file does"),
        ([annotation(5, 11, 2, bbox=[0, 0, 2, 2])], {}, "annotation 5 names the category 2"),
        ([SQUARE], {"annotations": "b.json"}, "dataset.annotations: there is no file"),
    ],
)  # fmt: skip
def test_files_that_contradict_themselves(coco, annotations, options, message):
    with pytest.raises(DatasetError, match=message):
        coco(annotations, **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"segmentation": [[1, 2, 3, 4]]}, "a polygon of 4 numbers"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "a polygon of 7 numbers"),
        ({"segmentation": [[1, 2, 3, "x", 5, 6]]}, "where numbers must stand"),
        ({"segmentation": [[0, 0, 1e9, 0, 1e9, 1e9]]}, "from x = 0 to 1e\\+09 in a picture of 56 pixels"),
        ({"segmentation": "all"}, "neither polygons nor run lengths"),
        ({"bbox": [1, 2, 3]}, "where 4 numbers must stand"),
        ({"segmentation": {"size": [40, 57], "counts": [2280]}}, r"of a picture of size \[40, 57\]"),
        ({"segmentation": {"size": [40, 56], "counts": [3, 9]}}, "run lengths of 12 pixels for a picture of 2240"),
        ({"segmentation": {"size": [40, 56], "counts": "0000"}}, "run lengths of 0 pixels for a picture of 2240"),
        ({"segmentation": {"size": [40, 56], "counts": "PPYo0PPYo0"}}, "run lengths of [0-9]+ pixels"),
        ({"segmentation": {"size": [40, 56], "counts": "é!"}}, "run lengths that cannot be read"),
        ({"segmentation": {"size": [40, 56], "counts": "P"}}, "run lengths that break off"),
    ],
)
def test_damaged_shapes_are_named(coco, shape, message):
    dataset = coco([annotation(5, 11, 1, **shape)])
    with pytest.raises(DatasetError, match=f"annotation 5 .*{message}|{message}"):
        regions(dataset)


def test_files_that_are_none_of_cocos(coco, tmp_path):
    coco([SQUARE])
    for text, message in (
        ("{", "cannot be read as JSON"),
        ("[]", "is not COCO's format"),
        ('{"images": 3}', "is not COCO's"),
    ):
        (tmp_path / "b.json").write_text(text)
        with pytest.raises(DatasetError, match=message):
            CocoConfig(root=str(tmp_path), annotations="b.json").build()


def test_panoptic_files_that_do_not_fit(coco, tmp_path):
    numbers = np.ones(SIZE, dtype=np.int64)
    panoptic(tmp_path, numbers[:, :-1], [{"id": 1, "category_id": 9}])
    with pytest.raises(DatasetError, match="the panoptic PNG .* is 55 × 40 pixels and its picture 56 × 40"):
        regions(coco([], annotations="p.json"))
    panoptic(tmp_path, numbers, [{"id": 2, "category_id": 9}])
    with (
        pytest.warns(UserWarning, match=r"has segments that its JSON does not name: \[1\]"),
        pytest.warns(UserWarning, match="segment 2 of .* covers no pixel"),
    ):
        assert regions(coco([], annotations="p.json")) == []
    panoptic(tmp_path, numbers, [{"id": 1, "category_id": 9}, {"id": 1, "category_id": 1}])
    with pytest.raises(DatasetError, match="segment 1 of .* stands twice"):
        coco([], annotations="p.json")
    panoptic(tmp_path, numbers, [{"id": 1, "category_id": 9}])
    whole = (tmp_path / "p/1.png").read_bytes()
    (tmp_path / "p/1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="the panoptic PNG .* cannot be read"):
        regions(coco([], annotations="p.json"))
    Image.fromarray(numbers.astype(np.uint8)).save(tmp_path / "p/1.png")
    with pytest.raises(DatasetError, match="of mode L; a panoptic PNG is RGB"):
        regions(coco([], annotations="p.json"))
    (tmp_path / "p").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="is panoptic, and there is no folder"):
        coco([], annotations="p.json")
    assert coco([], annotations="p.json", segments="elsewhere") is not None


def test_an_unknown_category_is_asked_back(coco):
    asked = CocoConfig(**(coco([SQUARE])._config.model_dump() | {"categories": ("cats",)}))
    with pytest.raises(DatasetError, match="no category is called 'cats'\n  → did you mean 'cat'"):
        asked.build()


def test_without_the_tools_the_user_is_told(coco, monkeypatch):
    dataset = coco([SQUARE])
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(PluginError, match="need the package pycocotools") as caught:
        regions(dataset)
    assert "omnisae-vision[coco]" in caught.value.remedy


@pytest.mark.parametrize("key", ["transform", "augmentation", "train_transforms", "random_flip", "RandAugment"])
def test_augmentation_is_refused(key):
    with pytest.raises(ValidationError, match="nothing is augmented while activations are extracted"):
        CocoConfig(root=".", annotations="a.json", **{key: True})
