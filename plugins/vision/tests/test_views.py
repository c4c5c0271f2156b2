"""Drawings of pictures, on dataset and latents whose truth is known; and within a report."""

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from omnisae.concepts.annotations import Annotations, Mask, Region
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint
from omnisae.report.build import build
from omnisae.report.scale import colour
from omnisae.report.visualizer import Firing, LatentView
from omnisae.report.visualizers.measures import Classes
from omnisae.testing import VisualizerTests
from omnisae_vision.views.configs import (
    VISUALIZERS,
    ClassEnergyConfig,
    ContactSheetConfig,
    ContourConfig,
    CropsConfig,
)
from omnisae_vision.views.contact import cells
from omnisae_vision.views.crops import Patch
from omnisae_vision.views.energy import shares
from omnisae_vision.views.frames import Frame
from omnisae_vision.views.truth import Known

WORLD = Path(__file__).parents[3] / "tests" / "core" / "report" / "world.py"
GRID = 6


@pytest.fixture(scope="module")
def world():
    if not WORLD.exists():
        pytest.skip(f"pictures are made by {WORLD.name} of core's own tests, which is absent")
    if "report_world" not in sys.modules:
        spec = importlib.util.spec_from_file_location("report_world", WORLD)
        sys.modules["report_world"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["report_world"])
    return sys.modules["report_world"]


def masked(world, n=40, *, annotated=lambda row: True, **options):
    """Discs with masks: `disc` where the disc is, `left` the left half of every picture."""

    class Masked(world.Discs):
        def annotations(self):
            y, x = np.mgrid[: self.side, : self.side] / self.side

            def regions(row):
                if not annotated(row):
                    return None
                away = np.hypot(y - self.centre[row, 0], x - self.centre[row, 1])
                return [Region("disc", 1, Mask(away < 0.2)), Region("left", 2, Mask(x < 0.5))]

            return Annotations(self.ids, {}, regions, ("disc", "left"))

    return Masked(n, 48, **options)


def view_of(world, dataset, *, ceiling=4.0, **changes):
    split = np.where(np.arange(dataset.n) % 2 == 0, SELECT, TEST).astype(np.uint8)
    strength = np.where(dataset.colour == 0, 2.0, 0.5).astype(np.float32)
    hook = HookPoint(name="h", at=("h",), pattern="example (y x) d", width=4)
    kept = {"scored": split > 0, "split": split, "values": strength, "tokens": 400} | changes
    return LatentView(3, hook, ceiling, strength, dataset, world.Viewer(dataset), **kept)


def on_disc(dataset, row, value=4.0):
    """A latent that fires where the disc is."""
    place = (np.arange(GRID) + 0.5) / GRID
    away = np.hypot(place[:, None] - dataset.centre[row, 0], place[None] - dataset.centre[row, 1])
    y, x = np.nonzero(away < 0.2)
    return Firing(row, np.stack([y, x], axis=1), np.full(len(y), value, dtype=np.float32), {"y": GRID, "x": GRID})


def at(row, places, values):
    return Firing(row, np.array(places), np.array(values, dtype=np.float32), {"y": GRID, "x": GRID})


def drawn(config, view, firings):
    visualizer = config.build()
    assert visualizer.applies(view)
    for firing in firings:
        assert not visualizer.draw_example(view, firing), "it draws over the dataset"
    return visualizer.draw_latent(view)


class Conformance(VisualizerTests):
    @pytest.fixture
    def view(self, world):
        return view_of(world, masked(world))

    @pytest.fixture
    def firing(self, view):
        return on_disc(view.dataset, 0)


class TestContour(Conformance):
    @pytest.fixture
    def config(self):
        return ContourConfig()


class TestCrops(Conformance):
    @pytest.fixture
    def config(self):
        return CropsConfig()


class TestContactSheet(Conformance):
    @pytest.fixture
    def config(self):
        return ContactSheetConfig()


class TestClassEnergy(Conformance):
    @pytest.fixture
    def config(self):
        return ClassEnergyConfig()


SHEETS = (ContourConfig(), CropsConfig(), ContactSheetConfig())


# -- what all of them keep to -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", SHEETS, ids=lambda config: config.type)
def test_they_apply_where_there_are_pictures(world, config):
    dataset = masked(world)
    seen = view_of(world, dataset)
    flat = replace(seen, hook=HookPoint(name="h", at=("h",), pattern="example time d", width=4))
    assert not config.build().applies(flat)
    assert not config.build().applies(replace(seen, extractor=world.Viewer(dataset, pictures=False)))


@pytest.mark.parametrize("config", SHEETS, ids=lambda config: config.type)
def test_nothing_is_drawn_of_a_latent_that_fires_nowhere(world, config):
    seen = view_of(world, masked(world))
    assert drawn(config, seen, []) == []
    assert drawn(config, seen, [at(0, np.zeros((0, 2), int), [])]) == []
    assert drawn(config, seen, [at(0, [[-1, -1]], [3.0])]) == [], "a special token has no place"


@pytest.mark.parametrize("config", SHEETS, ids=lambda config: config.type)
def test_what_one_latent_showed_is_not_drawn_for_the_next(world, config):
    dataset = masked(world)
    one, other = view_of(world, dataset), view_of(world, dataset)
    visualizer = config.build()
    visualizer.draw_example(one, on_disc(dataset, 0))
    assert visualizer.draw_latent(other) == []


@pytest.mark.parametrize("config", SHEETS, ids=lambda config: config.type)
def test_unreadable_pictures_are_left_out(world, config):
    dataset = masked(world, unreadable=[2])
    seen = view_of(world, dataset)
    (figure,) = drawn(config, seen, [on_disc(dataset, row) for row in (2, 4)])
    assert b"figures/0/2." not in figure.data
    assert b"figures/0/4.png" in figure.data


@pytest.mark.parametrize("config", [*SHEETS, ClassEnergyConfig()], ids=lambda config: config.type)
def test_text_is_escaped(world, config):
    dataset = masked(world, hostile=True)
    seen = view_of(world, dataset)
    (figure,) = drawn(config, seen, [on_disc(dataset, row) for row in range(5)])
    text = figure.data.decode()
    assert "<script" not in text
    assert "<img" not in text


def test_the_size_of_pictures_is_asked_once_where_they_have_one(world):
    dataset = masked(world)
    seen = view_of(world, dataset)
    seen.extractor.picture_size = (300, 600)
    (figure,) = drawn(ContactSheetConfig(), seen, [on_disc(dataset, 0)])
    assert b"figures/0/0.jpg" in figure.data, "larger pictures are kept as JPEG"
    assert dataset.loads == []


# -- contact sheet ----------------------------------------------------------------------------------------------------


def test_every_firing_token_is_a_square_of_its_colour():
    values = np.zeros((3, 4))
    values[0, 1], values[2, 3], values[1, 1] = 4.0, 2.0, 2.0
    found = dict(re.findall(r'd="([^"]*)" style="fill:(#\w+)', cells(values, 4.0)))
    assert found == {"M1 1h1v1h-1zM3 2h1v1h-1z": colour(0.5), "M1 0h1v1h-1z": colour(1.0)}
    assert cells(np.zeros((2, 2)), 1.0) == ""


def test_the_strongest_come_first_and_say_their_value(world):
    dataset = masked(world)
    seen = view_of(world, dataset)
    firings = [at(row, [[1, 1]], [value]) for row, value in ((3, 1.0), (5, 3.5), (7, 2.25))]
    (figure,) = drawn(ContactSheetConfig(examples=2), seen, firings)
    tips = re.findall(r"<title>([^<]*)</title>", figure.data.decode())
    assert tips == ["disc-00005: 3.5"] * 2 + ["disc-00007: 2.25"] * 2, "plain and with heat"
    assert "The 2 strongest of 40 pictures in which it fires" in figure.caption
    assert "0 to 4" in figure.caption


# -- crops ------------------------------------------------------------------------------------------------------------


def windows(figure):
    return re.findall(r'viewBox="(\d+ \d+ \d+ \d+)" preserve', figure.data.decode())


def test_crops_show_the_most_active_patches_within_what_is_around(world):
    dataset = masked(world)
    firings = [at(1, [[2, 3], [2, 4], [0, 0]], [4.0, 3.9, 2.0]), at(2, [[5, 5]], [3.0])]
    (figure,) = drawn(CropsConfig(), view_of(world, dataset), firings)
    assert windows(figure) == ["2 1 3 3", "3 3 3 3"], "what lies beside the strongest, or overlaps with it, is its own"
    assert "disc-00001, row 3, column 4: 4" in figure.data.decode()
    (alone,) = drawn(CropsConfig(context=0, each=3), view_of(world, dataset), firings)
    assert windows(alone) == ["3 2 1 1", "4 2 1 1", "5 5 1 1", "0 0 1 1"]
    assert "The 4 most active patches of 2 pictures" in alone.caption
    (two,) = drawn(CropsConfig(context=0, each=3, crops=2), view_of(world, dataset), firings)
    assert windows(two) == ["3 2 1 1", "4 2 1 1"]


def test_windows_stay_within_the_picture():
    frame = Frame("x.png", 60, 40)
    for y in range(4):
        for x in range(6):
            for context in range(4):
                top, left, tall, wide = Patch(0, frame, y, x, (4, 6), 1.0).window(context)
                assert 0 <= top <= y < top + tall <= 4
                assert 0 <= left <= x < left + wide <= 6
                assert (tall, wide) == (min(2 * context + 1, 4), min(2 * context + 1, 6))


# -- contours and masks -----------------------------------------------------------------------------------------------


def test_the_concept_is_the_one_whose_masks_hold_the_activation(world):
    dataset = masked(world)
    seen, known = view_of(world, dataset), Known()
    truth = known.best(seen, [on_disc(dataset, row) for row in range(8)])
    assert truth.concept == "disc"
    assert set(truth.masks) == set(range(8))
    left = [at(row, [[y, x] for y in range(GRID) for x in range(3)], np.ones(18)) for row in range(8)]
    assert known.best(seen, left).concept == "left"
    everywhere = [at(row, [[y, x] for y in range(GRID) for x in range(GRID)], np.ones(36)) for row in range(8)]
    assert known.best(seen, everywhere) is None, "masks hold no more of it than of the area"


def test_only_select_pictures_choose_the_concept(world):
    dataset = masked(world)
    left = [at(row, [[y, x] for y in range(GRID) for x in range(3)], np.ones(18)) for row in (1, 3, 5, 7)]
    disc = [on_disc(dataset, row) for row in (0, 2)]
    assert Known().best(view_of(world, dataset), left + disc).concept == "disc"
    assert Known().best(view_of(world, dataset), left) is None


def test_pictures_that_are_not_annotated_have_no_mask(world):
    dataset = masked(world, annotated=lambda row: row % 4 == 0)
    truth = Known().best(view_of(world, dataset), [on_disc(dataset, row) for row in range(8)])
    assert set(truth.masks) == {0, 4}
    assert Known().best(view_of(world, masked(world, annotated=lambda row: False)), [on_disc(dataset, 0)]) is None
    plain = world.Discs(40, 48)
    assert Known().best(view_of(world, plain), [on_disc(plain, 0)]) is None


def test_contours_say_level_area_and_mask(world):
    dataset = masked(world)
    seen = view_of(world, dataset)
    whole = at(0, [[y, x] for y in range(GRID) for x in range(GRID)], np.full(36, 4.0))
    half = at(2, [[y, x] for y in range(GRID) for x in range(3)], np.full(18, 4.0))
    faint = at(4, [[2, 2]], [1.9])
    (figure,) = drawn(ContourConfig(), seen, [whole, half, faint])
    assert "disc-00000: max 4, 100 % of the area" in figure.alt
    assert "disc-00002: max 4, 50 % of the area" in figure.alt
    assert "disc-00004: max 1.9, 0 % of the area" in figure.alt, "one level for all pictures of a latent"
    assert "exceeds 50 % of its largest value, 2; below" in figure.caption
    assert "the mask of left" in figure.caption
    text = figure.data.decode()
    assert text.count("stroke:#f0f921") == 1 + 2
    assert text.count("stroke-dasharray") == 2 * (1 + 3)


def test_thresholds_are_shares():
    with pytest.raises(ValidationError):
        ContourConfig(threshold=1.0)


# -- energy by class --------------------------------------------------------------------------------------------------


def test_shares_are_those_of_summed_strength():
    random = np.random.default_rng(1)
    labels = random.choice(["a", "b", "c", "unknown", ""], 400)
    strength = (random.gamma(1.0, size=400) * (1 + 4 * (labels == "b"))).astype(np.float32)
    side = np.arange(400) % 2 == 0
    found, n, left_out = shares(Classes.of(labels.tolist()), strength, side, ~side, 9)
    known = ~side & np.isin(labels, ["a", "b", "c"])
    assert n == known.sum()
    assert left_out == 0
    assert found[0].name == "b"
    assert {one.name for one in found} == {"a", "b", "c"}
    for one in found:
        mine = known & (labels == one.name)
        assert one.share == pytest.approx(float(strength[mine].sum() / strength[known].sum()), rel=1e-5)
        assert one.control == pytest.approx(mine.sum() / known.sum())
        assert one.n == mine.sum()
    assert sum(one.share for one in found) == pytest.approx(1)


def test_the_band_holds_what_shuffled_classes_give():
    random = np.random.default_rng(2)
    labels = np.array(["a"] * 30 + ["b"] * 170)
    strength = (random.gamma(1.0, size=200)).astype(np.float32)
    everything = np.ones(200, dtype=bool)
    found = {one.name: one for one in shares(Classes.of(labels.tolist()), strength, everything, everything, 9)[0]}
    null = np.array([strength[random.permutation(labels) == "a"].sum() / strength.sum() for _ in range(4000)])
    assert null.mean() == pytest.approx(found["a"].control, abs=0.003)
    assert 1.96 * null.std() == pytest.approx(found["a"].band, rel=0.06)


def test_classes_are_ranked_on_select():
    labels = Classes.of(["a", "b"] * 8)
    select = np.arange(16) < 8
    strength = np.where(np.arange(16) % 2 == 0, np.where(select, 5.0, 1.0), 2.0).astype(np.float32)
    found, _, left_out = shares(labels, strength, select, ~select, 1)
    assert [one.name for one in found] == ["a"]
    assert found[0].share == pytest.approx(1 / 3)
    assert left_out == 1


def test_energy_needs_a_column_of_classes(world):
    seen = view_of(world, masked(world))
    (figure,) = ClassEnergyConfig().build().draw_latent(seen)
    assert figure.title == "Energy by colour"
    assert "n = 20 test pictures" in figure.caption
    assert not ClassEnergyConfig(column="breed").build().applies(seen)
    silent = replace(seen, strength=np.zeros_like(seen.strength))
    assert not ClassEnergyConfig().build().draw_latent(silent)


# -- in a report ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [24, 140, 400])
def test_a_report_holds_every_picture_that_is_drawn(world, tmp_path, side):
    """Small pictures are kept as PNG, larger ones as JPEG, and the largest are made smaller."""
    visualizers = tuple(config() for config in VISUALIZERS)
    made = world.make(
        tmp_path, n=60, side=side, latents=8, grid=GRID, per_latent=25, unreadable=[5], visualizers=visualizers
    )
    build(*made.parts())
    assert "failed and is left out" not in (tmp_path / "report/index.html").read_text()
    pages = sorted((tmp_path / "report/data/pages/0").glob("*.js"))
    assert pages
    for page in pages:
        held = json.loads(re.fullmatch(r'omnisae\.put\("[^"]*",(.*)\);\n', page.read_text(), re.DOTALL).group(1))
        titles = [group["title"] for group in held["drawings"]]
        assert titles == ["Contours", "Most active patches", "Contact sheet", "Energy by class"]
        sources = re.findall(
            r'href="(figures/[^"]*)"', " ".join(one["html"] for g in held["drawings"] for one in g["latent"])
        )
        assert sources
        for source in set(sources):
            assert (tmp_path / "report" / source).is_file(), source
