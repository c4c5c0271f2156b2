"""The same pictures with the same truth in every format: all datasets read the same from them."""

import csv
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from omnisae_vision.plugin_datasets import CocoConfig, HubDatasetConfig, ImageFolderConfig, WebDatasetConfig, YoloConfig

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")


@pytest.fixture
def plain(shapes):
    return ImageFolderConfig(root=str(shapes), masks="masks", classes=False).build()


def shapes_of(dataset):
    """Every object's mask and concepts, by picture."""
    found = []
    for row in range(len(dataset)):
        objects = {}
        for region in dataset.annotations().regions(row):
            concepts, _ = objects.setdefault(region.instance, (set(), region.place.where))
            concepts.add(region.concept)
        found.append(sorted((sorted(concepts), where.tobytes()) for concepts, where in objects.values()))
    return found


def attributes(shapes, columns):
    """What is known of every picture: words, and numbers."""
    with (shapes / "attributes.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {row["id"]: {c: row[c] if c == "light" else float(row[c]) for c in columns} for row in rows}


def test_coco_instances_and_panoptic(plain, shapes, tmp_path):
    names = sorted(plain.annotations().region_concepts)
    numbers = {name: i for i, name in enumerate(names, start=1)}
    held = {"images": [], "annotations": [], "categories": [{"id": i, "name": name} for name, i in numbers.items()]}
    panoptic = {**held, "images": held["images"], "annotations": []}
    (tmp_path / "segments").mkdir()
    for row, name in enumerate(plain.ids):
        held["images"].append({"id": row, "file_name": f"{name}.png", "height": 64, "width": 64})
        colours, segments = np.zeros((64, 64, 3), dtype=np.uint8), []
        for region in plain.annotations().regions(row):
            where = region.place.where
            edges = np.flatnonzero(np.diff(np.r_[0, where.T.ravel().astype(int)]))
            held["annotations"].append(
                {
                    "id": len(held["annotations"]), "image_id": row, "category_id": numbers[region.concept],
                    "segmentation": {"size": [64, 64], "counts": np.diff(np.r_[0, edges, where.size]).tolist()},
                }
            )  # fmt: skip
            if region.concept in COLOURS:
                colours[where, 0] = region.instance
                segments.append({"id": region.instance, "category_id": numbers[region.concept]})
        Image.fromarray(colours).save(tmp_path / "segments" / f"{row}.png")
        panoptic["annotations"].append({"image_id": row, "file_name": f"{row}.png", "segments_info": segments})
    (tmp_path / "i.json").write_text(json.dumps(held))
    (tmp_path / "p.json").write_text(json.dumps(panoptic))
    (tmp_path / "images").symlink_to(shapes / "images")
    whole = CocoConfig(root=str(tmp_path), annotations="i.json").build()
    assert list(whole.ids) == list(plain.ids)
    colours = CocoConfig(root=str(tmp_path), annotations="p.json", segments="segments").build()
    for row in range(len(plain)):
        wanted = [(r.concept, r.place.where.tobytes()) for r in plain.annotations().regions(row)]
        assert sorted((r.concept, r.place.where.tobytes()) for r in whole.annotations().regions(row)) == sorted(wanted)
        hues = [
            one
            for one in wanted
            if numbers[one[0]] in {s["category_id"] for s in panoptic["annotations"][row]["segments_info"]}
        ]
        assert sorted((r.concept, r.place.where.tobytes()) for r in colours.annotations().regions(row)) == sorted(hues)


def test_yolo_boxes_are_the_masks_boxes(plain, shapes, tmp_path):
    names = sorted(plain.annotations().region_concepts)
    (tmp_path / "images").symlink_to(shapes / "images")
    for row, name in enumerate(plain.ids):
        lines = []
        for region in plain.annotations().regions(row):
            y, x = np.nonzero(region.place.where)
            left, top, right, bottom = x.min(), y.min(), x.max() + 1, y.max() + 1
            box = ((left + right) / 128, (top + bottom) / 128, (right - left) / 64, (bottom - top) / 64)
            lines.append(" ".join([str(names.index(region.concept)), *(f"{n:.6f}" for n in box)]))
        path = tmp_path / "labels" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
    boxes = YoloConfig(root=str(tmp_path), names=tuple(names)).build()
    for row in range(len(plain)):
        found = boxes.annotations().regions(row)
        assert [r.concept for r in found] == [r.concept for r in plain.annotations().regions(row)]
        for box, mask in zip(found, plain.annotations().regions(row), strict=True):
            y, x = np.nonzero(mask.place.where)
            wanted = np.zeros((64, 64), dtype=bool)
            wanted[y.min() : y.max() + 1, x.min() : x.max() + 1] = True
            np.testing.assert_array_equal(box.place.where, wanted)


def test_tars_and_hugging_face_datasets(plain, shapes, tmp_path):
    library = pytest.importorskip("datasets", reason="the package datasets is not installed")
    columns = ("has_red", "covered", "light")
    known = attributes(shapes, columns)
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for row, name in enumerate(plain.ids):
            picture = plain.path(row).read_bytes()
            mask = (shapes / "masks" / f"{name}.png").read_bytes()
            fields = {key: known[name][key] if key == "light" else float(known[name][key]) for key in columns}
            members = {
                "png": picture,
                "mask.png": mask,
                "cls": name.partition("/")[0].encode(),
                "json": json.dumps(fields).encode(),
            }
            for ending, data in members.items():
                info = tarfile.TarInfo(f"{name}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    rows = {
        "image": [{"bytes": plain.path(row).read_bytes(), "path": None} for row in range(len(plain))],
        "mask": [{"bytes": (shapes / "masks" / f"{name}.png").read_bytes(), "path": None} for name in plain.ids],
        "label": [name.partition("/")[0] for name in plain.ids],
        "name": list(plain.ids),
        **{
            key: [known[name][key] if key == "light" else float(known[name][key]) for name in plain.ids]
            for key in columns
        },
    }
    made = library.Dataset.from_dict(rows).cast_column("image", library.Image()).cast_column("mask", library.Image())
    made.save_to_disk(str(tmp_path / "saved"))
    values = {1: "first", 2: "second", 3: "third", 4: "fourth"}
    tars = WebDatasetConfig(root=str(tmp_path), masks="mask.png", mask_values=values, fields=columns).build()
    saved = HubDatasetConfig(
        path=str(tmp_path / "saved"), id="name", masks="mask", mask_values=values, attributes=columns
    ).build()
    folder = ImageFolderConfig(
        root=str(shapes), masks="masks", mask_values=values, attributes="attributes.csv", columns=columns
    ).build()
    wanted = folder.annotations()
    for other in (tars, saved):
        assert list(other.ids) == list(folder.ids)
        found = other.annotations()
        assert found.labels.keys() == wanted.labels.keys()
        for concept, column in wanted.labels.items():
            np.testing.assert_allclose(found.labels[concept], column)
        assert other.labels() == folder.labels()
        assert shapes_of(other) == shapes_of(folder)
        for row in range(len(folder)):
            np.testing.assert_array_equal(np.asarray(other.load(row).input), np.asarray(folder.load(row).input))
