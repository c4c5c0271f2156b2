"""The world `shapes`: its truth is true, it is the same everywhere, and it is found by name."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnisae.errors import DatasetError
from omnisae_datasets import checkpoint, resolve
from omnisae_datasets.__main__ import main
from omnisae_datasets.shapes.render import render
from omnisae_datasets.shapes.scene import COLOURS, CONCEPTS, SIZE, scene
from omnisae_datasets.shapes.truth import truth


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNISAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_picture_depends_on_its_seed_and_number_alone():
    one, two = render(scene(3, 7), 3, 7), render(scene(3, 7), 3, 7)
    np.testing.assert_array_equal(one[0], two[0])
    assert scene(3, 7) != scene(3, 8)
    assert scene(3, 7) != scene(4, 7)


def test_what_is_masked_has_the_colour_that_is_said():
    """Plain objects: the pixels well inside differ from the object's paint by noise alone."""
    checked = 0
    for number in range(60):
        made = scene(0, number)
        picture, mask = render(made, 0, number)
        for instance, thing in truth(made, mask).seen.items():
            where = mask == instance
            inside = where.copy()
            for axis in (0, 1):
                inside &= np.roll(where, 1, axis) & np.roll(where, -1, axis)
            if thing.texture != "plain" or inside.sum() < 20:
                continue
            mean = picture[inside].mean(axis=0)
            nearest = min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))
            assert nearest == thing.colour
            checked += 1
    assert checked > 20


def test_textures_are_seen():
    """An object's lightness varies where it has a texture, and by noise alone where it is plain."""
    spread: dict[str, list[float]] = {}
    for number in range(80):
        made = scene(0, number)
        picture, mask = render(made, 0, number)
        for instance, thing in truth(made, mask).seen.items():
            lightness = picture[mask == instance].astype(float).sum(axis=1) / sum(thing.rgb)
            spread.setdefault(thing.texture, []).append(lightness.std())
    assert max(np.quantile(spread["plain"], 0.9), 0.1) < min(
        np.median(spread[t]) for t in ("striped", "dotted", "checked")
    )


def test_objects_stay_inside_and_concepts_are_frequent():
    seen = dict.fromkeys(CONCEPTS, 0)
    for number in range(300):
        made = scene(0, number)
        assert 1 <= len(made.things) <= 4
        for thing in made.things:
            assert thing.radius < thing.x < SIZE - thing.radius
            for word in (thing.colour, thing.shape, thing.texture):
                seen[word] += 1
    assert min(seen.values()) > 60


def test_the_files_agree_with_each_other(tmp_path):
    out = tmp_path / "out"
    assert main(["shapes", "--out", str(out), "--n", "25", "--seed", "2"]) == 0
    attributes = rows(out / "attributes.csv")
    named = rows(out / "masks.csv")
    objects = rows(out / "objects.csv")
    assert len(attributes) == 25
    for line in attributes:
        mask = np.asarray(Image.open(out / "masks" / f"{line['id']}.png"))
        picture = Image.open(out / "images" / f"{line['id']}.png")
        assert picture.mode == "RGB"
        assert picture.size == (SIZE, SIZE) == mask.shape[::-1]
        mine = [o for o in objects if o["id"] == line["id"]]
        assert {o["instance"]: int(o["pixels"]) for o in mine} == {
            o["instance"]: int((mask == int(o["instance"])).sum()) for o in mine
        }
        words = {row["concept"] for row in named if row["id"] == line["id"]}
        assert words == {c for c in CONCEPTS if line[f"has_{c}"] == "1"}
        biggest = max(mine, key=lambda o: int(o["pixels"]))
        assert line["id"].split("/")[0] == biggest["shape"]
        y, x = np.nonzero(mask == int(biggest["instance"]))
        assert abs(x.mean() + 0.5 - float(biggest["x"])) < 6
        assert abs(y.mean() + 0.5 - float(biggest["y"])) < 6


def test_a_world_is_written_once_and_is_the_same_in_every_cache(tmp_path, cache, monkeypatch):
    place = resolve("world:shapes?n=6&seed=1")
    assert place.parent == cache / "worlds"
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in place.rglob("*.csv")}
    assert resolve("world:shapes?n=6&seed=1") == place
    monkeypatch.setenv("OMNISAE_CACHE", str(tmp_path / "other"))
    again = resolve("world:shapes?n=6&seed=1")
    assert again != place
    assert again.name == place.name
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in again.rglob("*.csv")} == before
    assert resolve("world:shapes?n=6") != again


def test_a_half_written_world_is_never_found(cache, monkeypatch):
    from omnisae_datasets.shapes import WORLD

    def breaks(out, n, seed):
        (out / "images").mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("omnisae_datasets.shapes.WORLD", type(WORLD)(**{**vars(WORLD), "write": breaks}))
    with pytest.raises(DatasetError, match="could not be written to .*: No space left on device"):
        resolve("world:shapes?n=3")
    assert list((cache / "worlds").iterdir()) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("world:shaped", "there is no world 'shaped'"),
        ("world:shapes?m=3", "asks for 'm', which a world does not have"),
        ("world:shapes?n=few", "gives n as 'few'; it must be a whole number"),
        ("world:shapes?n=0", "gives n as '0'"),
    ],
)
def test_addresses_that_name_nothing(address, message):
    with pytest.raises(DatasetError, match=message.replace("?", r"\?")):
        resolve(address)


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OMNISAE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match="cannot be written") as caught:
        resolve("world:shapes?n=2")
    assert "OMNISAE_CACHE" in caught.value.remedy


def test_the_shipped_model_is_small_and_described():
    path = checkpoint("world:shapes", "vit_shapes_tiny")
    assert path.stat().st_size < 2_000_000
    assert path.with_suffix(".json").is_file()
    assert path.with_suffix(".md").is_file()
    with pytest.raises(DatasetError, match="ships no model 'vit_shape_tiny'"):
        checkpoint("world:shapes", "vit_shape_tiny")


def test_the_shipped_model_is_as_good_as_its_card_says():
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    import json

    import timm
    from safetensors.torch import load_file

    from omnisae_datasets.shapes.train import measure

    path = checkpoint("world:shapes", "vit_shapes_tiny")
    card = json.loads(path.with_suffix(".json").read_text())
    model = timm.create_model(card["architecture"], **card["model_args"]).eval()
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    torch.manual_seed(0)
    found = measure(model, 250).card()
    assert found["mean"]["auroc"] == pytest.approx(card["quality"]["mean"]["auroc"], abs=0.025)
    assert found["concepts"]["red"]["auroc"] > 0.98


def test_the_command_refuses_a_full_folder(tmp_path, capsys):
    (tmp_path / "x").write_text("")
    assert main(["shapes", "--out", str(tmp_path)]) == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_the_command_runs_as_a_module(tmp_path):
    words = [sys.executable, "-m", "omnisae_datasets", "shapes", "--out", str(tmp_path / "w"), "--n", "2"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 pictures" in done.stdout
