"""The world `phantoms`: its truth is true, its files are DICOM, and it is the same everywhere."""

import csv
from pathlib import Path

import numpy as np
import pytest

from omnisae_datasets import checkpoint, resolve
from omnisae_datasets.__main__ import main
from omnisae_datasets.phantoms.anatomy import HEIGHT, KINDS, ORDER, SCANNERS, WIDTH, patient
from omnisae_datasets.phantoms.render import outline, render

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNISAE_CACHE", str(tmp_path / "cache"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def shown(path: Path) -> tuple[np.ndarray, "pydicom.Dataset"]:
    """What a viewer shows of a file, from 0 to 1, by pydicom's own means."""
    from pydicom.pixels import apply_rescale, apply_voi_lut

    ds = pydicom.dcmread(path)
    values = apply_rescale(ds.pixel_array, ds).astype(float)
    if "VOILUTSequence" in ds:
        out = apply_voi_lut(ds.pixel_array, ds) / 65_535
    else:
        centre, width = float(ds.WindowCenter), float(ds.WindowWidth)
        out = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    return (1 - out if ds.PhotometricInterpretation == "MONOCHROME1" else out), ds


def test_a_picture_depends_on_its_seed_and_number_alone():
    one, two = render(patient(3, 7), "L", "CC", 3), render(patient(3, 7), "L", "CC", 3)
    np.testing.assert_array_equal(one[0], two[0])
    assert one[1] == two[1]
    assert patient(3, 7) != patient(3, 8)
    assert patient(3, 7) != patient(4, 7)


def test_a_breast_and_its_other_side_are_mirrored():
    """The chest wall lies on the left of a left breast, on the right of a right one."""
    for number in range(10):
        who = patient(0, number)
        for side, view in ORDER:
            picture, _ = render(who, side, view, 0)
            inner, outer = picture[100:160, :20].mean(), picture[100:160, -20:].mean()
            assert (inner > outer) == (side == "L")


def test_lesions_are_brighter_than_what_they_cover():
    """With and without a lesion, the same breast differs in the lesion's box alone, and is brighter there."""
    from dataclasses import replace

    checked = dict.fromkeys(KINDS, 0)
    for number in range(40):
        who = patient(0, number)
        for side, view in ORDER:
            bare = replace(who.breasts[side], lesions=())
            picture, boxes = render(who, side, view, 0)
            without, none = render(replace(who, breasts={**who.breasts, side: bare}), side, view, 0)
            assert none == []
            left = np.ones_like(picture, dtype=bool)
            for box in boxes:
                assert 0 <= box.left < box.right <= WIDTH
                assert 0 <= box.top < box.bottom <= HEIGHT
                left[max(box.top - 8, 0) : box.bottom + 8, max(box.left - 8, 0) : box.right + 8] = False
                inside = (picture - without)[box.top : box.bottom, box.left : box.right]
                assert inside.max() > 0.05, box
                checked[box.kind] += 1
            assert np.abs((picture - without)[left]).max() < 0.02
    assert min(checked.values()) >= 5


def test_nodes_are_seen_in_the_oblique_view_alone():
    for number in range(60):
        who = patient(0, number)
        for side, view in ORDER:
            _, boxes = render(who, side, view, 0)
            if view == "CC":
                assert all(box.kind != "Suspicious Lymph Node" for box in boxes)


def test_the_confounders_are_planted():
    with_mass: list[bool] = []
    without: list[bool] = []
    rate: dict[int, list[bool]] = {0: [], 1: [], 2: []}
    for number in range(600):
        who = patient(0, number)
        for side, view in ORDER:
            mass = any(lesion.kind == "Mass" for lesion in who.breasts[side].lesions)
            (with_mass if mass else without).append(who.marker[side, view])
            rate[who.scanner].append(mass)
    assert 0.75 < np.mean(with_mass) < 0.85
    assert 0.06 < np.mean(without) < 0.14
    assert np.mean(rate[0]) < np.mean(rate[1]) < np.mean(rate[2])


def test_the_letter_lies_in_the_air():
    from dataclasses import replace

    for number in range(20):
        who = patient(0, number)
        for side, view in ORDER:
            lit, _ = render(replace(who, marker=dict.fromkeys(ORDER, True)), side, view, 0)
            dark, _ = render(replace(who, marker=dict.fromkeys(ORDER, False)), side, view, 0)
            letter = np.abs(lit - dark) > 0.3
            breast = outline(who.breasts[side], view)
            assert letter.sum() > 100
            assert not (letter & (breast if side == "L" else breast[:, ::-1])).any()


def test_files_show_the_picture_whatever_their_encoding(tmp_path):
    place = resolve("world:phantoms?n=48&seed=0")
    seen: dict[str, set[str]] = {}
    for row in rows(place / "truth.csv"):
        path = next(place.glob(f"images/*/{row['image_id']}.dicom"))
        found, ds = shown(path)
        want, _ = render(patient(0, int(row["patient"])), row["laterality"], row["view"], 0)
        np.testing.assert_allclose(found, want, atol=2e-3)
        assert (ds.ImageLaterality, ds.ViewPosition, ds.Manufacturer) == (
            row["laterality"],
            row["view"],
            row["scanner"],
        )
        assert ds.BurnedInAnnotation == ("YES" if row["marker"] == "1" else "NO")
        seen.setdefault(row["scanner"], set()).add(f"{ds.PhotometricInterpretation} {ds.file_meta.TransferSyntaxUID}")
    assert set(seen) == set(SCANNERS)
    assert all(len(kinds) == 1 for kinds in seen.values())


def test_the_table_has_vindrs_columns_and_every_box():
    place = resolve("world:phantoms?n=48&seed=0")
    table, truth = rows(place / "finding_annotations.csv"), {r["image_id"]: r for r in rows(place / "truth.csv")}
    assert {"study_id", "image_id", "finding_categories", "xmin", "ymin", "xmax", "ymax"} <= set(table[0])
    for image, known in truth.items():
        kinds = {row["finding_categories"] for row in table if row["image_id"] == image}
        want = {f"['{kind}']" for kind in KINDS if known[f"has_{kind}"] == "1"} or {"['No Finding']"}
        assert kinds == want


def test_twice_written_is_the_same_to_the_byte(tmp_path):
    for name in ("a", "b"):
        main(["phantoms", "--out", str(tmp_path / name), "--n", "8", "--seed", "5"])
    one, two = (sorted(p for p in (tmp_path / name).rglob("*") if p.is_file()) for name in ("a", "b"))
    assert [p.relative_to(tmp_path / "a") for p in one] == [p.relative_to(tmp_path / "b") for p in two]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))


def test_the_model_is_small_and_tells_its_quality():
    import json

    path = checkpoint("world:phantoms", "efficientnet_phantoms")
    assert path.stat().st_size < 2_000_000
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["quality"]["mean"]["auroc"] > 0.9
    assert card["label_names"] == [f"has_{kind}" for kind in KINDS]


@pytest.mark.slow
def test_the_card_is_true():
    """The shipped weights, measured anew on pictures of the world."""
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    from safetensors.torch import load_file

    from omnisae_datasets.phantoms.train import ARGUMENTS, BASE, measure

    path = checkpoint("world:phantoms", "efficientnet_phantoms")
    model = timm.create_model(BASE, **ARGUMENTS).eval()
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()})
    with torch.inference_mode():
        assert measure(model, 400).mean["auroc"] > 0.98
