"""The world `digits`: real digits that no model learnt from, prompts, and models that draw and name digits."""

import csv
import json
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from omnisae.errors import PluginError
from omnisae_datasets import checkpoint, find, resolve
from omnisae_datasets.__main__ import main

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from omnisae_datasets.digits.inks import INKS, PAPER, PEN, printed
from omnisae_datasets.digits.pictures import LABELS, NULL, SIDE, digits, in_all_inks, label

DENOISERS = ("unet", "dit")
MODELS = (*DENOISERS, "digits_classifier")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNISAE_CACHE", str(tmp_path / "cache"))


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def card(model):
    return json.loads(checkpoint("world:digits", model).with_suffix(".json").read_text())


def test_paper_and_stroke_have_the_colours_that_are_told():
    blank, full = np.zeros((SIDE, SIDE)), np.ones((SIDE, SIDE))
    for ink in INKS:
        np.testing.assert_allclose(printed(blank, ink), np.broadcast_to(PAPER[ink], (SIDE, SIDE, 3)))
        np.testing.assert_allclose(printed(full, ink)[0], np.broadcast_to(PEN[ink][0], (SIDE, 3)))
        np.testing.assert_allclose(printed(full, ink)[-1], np.broadcast_to(PEN[ink][1], (SIDE, 3)), atol=1e-12)
        np.testing.assert_allclose(printed(full / 2, ink), (printed(blank, ink) + printed(full, ink)) / 2)


def test_labels_are_digits_in_inks_in_the_order_of_their_numbers():
    assert NULL == len(LABELS) == len(set(LABELS)) == 40
    for digit in range(10):
        for number, ink in enumerate(INKS):
            assert LABELS[label(digit, number)] == f"{digit} in {ink}"


def test_pictures_come_with_their_labels():
    pictures, labels = in_all_inks(held_out=True)
    known = digits(held_out=True)
    assert pictures.shape == (4 * len(known.digit), 3, SIDE, SIDE)
    assert pictures.min() >= -1
    assert pictures.max() <= 1
    for row in (0, 5, 102, 1439):
        digit, ink = divmod(int(labels[row]), 4)
        assert digit == known.digit[row // 4]
        np.testing.assert_allclose(pictures[row], printed(known.grey[row // 4], INKS[ink]).transpose(2, 0, 1) * 2 - 1)


def test_digits_that_are_held_out_are_never_learnt():
    """Every digit of scikit-learn is in one of the two parts; no picture of one part is in the other."""
    from sklearn.datasets import load_digits

    learnt, held = digits(held_out=False), digits(held_out=True)
    assert len(learnt.digit) + len(held.digit) == len(load_digits().target)
    assert len(held.digit) == 360
    assert not {one.tobytes() for one in learnt.grey} & {one.tobytes() for one in held.grey}


def test_every_label_is_asked_for_as_often():
    rows = table(resolve("world:digits?n=80&seed=3") / "prompts.csv")
    assert set(Counter(row["label"] for row in rows).values()) == {2}
    assert len({row["label"] for row in rows[:40]}) == 40
    assert len({row["seed"] for row in rows}) == len({row["id"] for row in rows}) == 80
    for row in rows:
        assert row["prompt"] == LABELS[int(row["label"])] == f"{row['digit']} in {row['ink']}"
    assert [row["label"] for row in rows[:40]] != [row["label"] for row in rows[40:]]


def test_a_prompt_depends_on_its_seed_and_number_alone():
    few, many, other = (table(resolve(f"world:digits?{ask}") / "prompts.csv") for ask in ("n=5", "n=90", "n=5&seed=1"))
    assert few == many[:5]
    assert few != other


def test_natural_pictures_are_the_digits_that_were_held_out():
    place = resolve("world:digits?n=1")
    rows = table(place / "natural.csv")
    assert sorted(row["id"] for row in rows) == sorted(
        str(path.relative_to(place / "natural").with_suffix("")) for path in (place / "natural").rglob("*.png")
    )
    pictures, labels = in_all_inks(held_out=True)
    assert len(rows) == len(labels)
    for i in range(0, len(rows), 97):
        ink, number = divmod(i, len(rows) // 4)
        row, wanted = rows[i], pictures[4 * number + ink]
        found = np.asarray(Image.open(place / "natural" / f"{row['id']}.png")).transpose(2, 0, 1)
        np.testing.assert_allclose(found / 127.5 - 1, wanted, atol=1.01 / 255)
        which = [digit for digit in range(10) if row[f"digit={digit}"] == "1"]
        assert which == [labels[4 * number + ink] // 4]
        assert row["ink"] == INKS[ink]
    assert set(Counter(row["original"] for row in rows).values()) == {4}


def test_natural_pictures_are_read_as_a_folder_of_pictures():
    """By the reader of pictures, whose concepts are the classifier's outputs."""
    plugin = pytest.importorskip("omnisae_vision.plugin_datasets", reason="omnisae-vision is not installed")
    dataset = plugin.ImageFolderConfig(
        root="world:digits?n=1", images="natural", classes=False, attributes="natural.csv", group="original"
    ).build()
    assert len(dataset.ids) == 1440
    assert set(card("digits_classifier")["label_names"]) <= set(dataset.annotations().labels)


def test_twice_written_is_the_same_to_the_byte(tmp_path):
    for name in ("a", "b"):
        main(["digits", "--out", str(tmp_path / name), "--n", "6", "--seed", "5"])
    one, two = (sorted(p for p in (tmp_path / name).rglob("*") if p.is_file()) for name in ("a", "b"))
    assert [p.relative_to(tmp_path / "a") for p in one] == [p.relative_to(tmp_path / "b") for p in two]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))
    assert len({p.stat().st_mtime for p in one}) == 1


def test_without_scikit_learn_the_remedy_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(PluginError, match=r"from scikit-learn(.|\n)*pip install omnisae-datasets\[digits\]"):
        find("digits").write(tmp_path, 1, 0)


@pytest.mark.parametrize("model", MODELS)
def test_models_are_small_and_tell_their_quality(model):
    path = checkpoint("world:digits", model)
    assert path.stat().st_size < (300_000 if model == "digits_classifier" else 2_000_000)
    known = card(model)
    assert known["quality"]["right"]["digit"] >= 0.9
    assert known["quality"]["right"]["ink"] >= 0.9
    assert set(known["quality"]["digits"]) == {str(digit) for digit in range(10)}
    assert set(known["quality"]["inks"]) == set(INKS)
    told = path.with_suffix(".md").read_text()
    assert known["recipe"]["command"] in told
    assert f"| all | {known['quality']['right']['digit']:.3f} |" in told


@pytest.mark.parametrize("model", DENOISERS)
def test_a_denoisers_file_tells_all_that_is_needed_to_draw(model):
    """Diffusers' own class and scheduler, from the file alone."""
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    from safetensors import safe_open

    from omnisae_datasets.digits import denoisers

    path = checkpoint("world:digits", model)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["omnisae_diffusers"])
    assert {"unet": "UNet2DModel", "dit": "DiTTransformer2DModel"}[model] == about["class"]
    assert about["labels"] == list(LABELS)
    assert about["null_label"] == NULL
    plan = denoisers.scheduler()
    assert about["scheduler"]["class"] == type(plan).__name__
    anew = type(plan).from_config(about["scheduler"]["config"])
    assert bool((anew.alphas_cumprod == plan.alphas_cumprod).all())
    anew.set_timesteps(about["steps"])
    assert anew.timesteps.tolist() == list(range(999, 0, -100))
    built = denoisers.load(path)
    assert type(built).__name__ == about["class"]
    assert {key: built.config[key] for key in about["config"]} == {
        key: tuple(value) if isinstance(built.config[key], tuple) else value for key, value in about["config"].items()
    }


@pytest.mark.parametrize("model", DENOISERS)
def test_what_is_drawn_is_what_was_asked_for(model):
    """One picture of every label by each model, judged by the classifier."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    pytest.importorskip("timm")
    from omnisae_datasets.digits import classifier, denoisers

    labels = torch.arange(len(LABELS))
    drawn = denoisers.samples(denoisers.load(checkpoint("world:digits", model)), labels, seed=7)
    judge = classifier.load(checkpoint("world:digits", "digits_classifier"))
    right = classifier.judged(judge, drawn, labels).shares()
    assert right["digit"] >= 0.85
    assert right["ink"] >= 0.85
    blank = denoisers.samples(denoisers.load(checkpoint("world:digits", model)), torch.full((40,), NULL), seed=7)
    unasked = classifier.judged(judge, blank, labels).shares()
    assert unasked["both"] < 0.3, "without a label it cannot know what would be asked"


def test_the_classifiers_card_is_true():
    pytest.importorskip("timm")
    from omnisae_datasets.digits import classifier

    judge = classifier.load(checkpoint("world:digits", "digits_classifier"))
    found, known = classifier.measure(judge).card(), card("digits_classifier")["quality"]
    assert found["right"] == pytest.approx(known["right"], abs=0.003)
    assert found["right"]["digit"] >= 0.97
    assert found["right"]["ink"] == 1
    assert classifier.not_digits(judge)["blank stamp"]["ink"] == known["not_digits"]["blank stamp"]["ink"]


@pytest.mark.slow
@pytest.mark.parametrize("model", DENOISERS)
def test_the_denoisers_cards_are_true(model):
    """The shipped weights, measured anew on fewer pictures."""
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    pytest.importorskip("timm")
    from omnisae_datasets.digits import classifier, denoisers, train

    judge = classifier.load(checkpoint("world:digits", "digits_classifier"))
    found = train.measure(denoisers.load(checkpoint("world:digits", model)), judge, each=3).shares()
    assert found == pytest.approx(card(model)["quality"]["right"], abs=0.06)


def few(monkeypatch, module, count=32):
    """The first pictures only, so that a training is short."""
    pictures, labels = in_all_inks(held_out=False)
    monkeypatch.setattr(module, "in_all_inks", lambda held_out: (pictures[:count], labels[:count]))


def test_the_classifiers_training_is_repeatable(monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    from omnisae_datasets.digits import classifier

    few(monkeypatch, classifier)
    one, two = (classifier.train(2, 16, 1e-3, 0, say=lambda line: None).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("model", DENOISERS)
def test_a_denoisers_recipe_from_training_to_card(model, monkeypatch, tmp_path):
    """On next to nothing: what is written is the running mean, rounded, and the card tells what was measured on it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    pytest.importorskip("timm")
    from omnisae_datasets.digits import denoisers, train

    few(monkeypatch, train)
    lines = []
    again = int(model == "dit")
    made = train.trained(model, 2, again, 16, 1e-3, 0, say=lines.append)
    assert not made.training
    assert len(lines) == 2 + train.ROUNDS * again
    torch.manual_seed(0)
    began = denoisers.untrained(model).state_dict()
    assert any(not torch.equal(value, began[name]) for name, value in made.state_dict().items())
    steps = train.steps_of(model, 2, again, 16, 1e-3, 0, 0.1)
    seen = train.finish(model, made, tmp_path, steps, each=1)
    anew = denoisers.load(tmp_path / f"{model}.safetensors").state_dict()
    assert all(torch.equal(value, anew[name]) for name, value in made.state_dict().items())
    known = json.loads((tmp_path / f"{model}.json").read_text())
    assert known["quality"]["right"] == seen.shares()
    assert known["recipe"] == steps
    assert steps["command"] in (tmp_path / f"{model}.md").read_text()


def test_shares_are_counted_by_digit_and_by_ink():
    from omnisae_datasets.digits.card import Seen

    labels = np.arange(40)
    seen = Seen(labels, np.where(labels == 13, 9, labels // 4), np.where(labels < 2, 3, labels % 4))
    assert seen.shares() == {"digit": 0.975, "ink": 0.95, "both": 0.925}
    assert seen.card()["digits"]["3"] == {"digit": 0.75, "ink": 1.0, "both": 0.75}
    assert seen.card()["inks"]["ink"] == {"digit": 0.9, "ink": 0.9, "both": 0.8}
    assert "| neon | 1.000 | 1.000 | 1.000 |" in seen.told()
