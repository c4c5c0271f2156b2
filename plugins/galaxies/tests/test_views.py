"""Drawings: what stands in them, read back from their pixels and numbers; projections against known values."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnisae.hooks.point import HookPoint
from omnisae.report.scale import table
from omnisae.report.visualizer import Firing, LatentView
from omnisae.testing import VisualizerTests
from omnisae_galaxies import draw, saliency, sky_frame
from omnisae_galaxies.plugin import (
    CutoutsConfig,
    GalleryConfig,
    SaliencyConfig,
    SkyConfig,
    Stretch,
    Votes,
    ZoobotConfig,
)
from omnisae_galaxies.trees import Question


@pytest.fixture(scope="module")
def view(world):
    from omnisae_datasets.galaxies.tree import TREE

    dataset = CutoutsConfig(
        root=str(world), bands=("z", "r", "g"), stretch=Stretch(minimum=0.0, stretch=0.6), catalogue="catalogue.fits",
        minus="NEG", votes=Votes(tree={q.name: Question(answers=q.answers, after=q.after) for q in TREE}),
        position=("right_ascension", "declination"),
    ).build()  # fmt: skip
    extractor = ZoobotConfig(model="convnext_galaxies", checkpoint="world:galaxies", device="cpu").build(dataset)
    hook = HookPoint(name="map", at=("stages.3",), pattern="example d y x", sizes={"y": 8, "x": 8}, width=8)
    strength = np.linspace(-1, 2, len(dataset)).clip(0).astype(np.float32)
    return LatentView(7, hook, 2.0, strength, dataset, extractor)


def firing(row=59, value=2.0, at=((3, 4),)):
    return Firing(row, np.array(at), np.full(len(at), value, dtype=np.float32), {"y": 8, "x": 8})


class TestGallery(VisualizerTests):
    @pytest.fixture
    def config(self):
        return GalleryConfig()

    @pytest.fixture
    def view(self, view):
        return view


class TestSaliency(VisualizerTests):
    @pytest.fixture
    def config(self):
        return SaliencyConfig()

    @pytest.fixture
    def view(self, view):
        return view

    @pytest.fixture
    def firing(self):
        return firing()


class TestSky(VisualizerTests):
    @pytest.fixture
    def config(self):
        return SkyConfig()

    @pytest.fixture
    def view(self, view):
        return view


class TestWholeSky(TestSky):
    @pytest.fixture
    def config(self):
        return SkyConfig(projection="mollweide")


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(figure.data)).convert("RGB")).astype(int)


def test_the_gallery_holds_the_strongest_galaxies_in_their_order(view):
    (figure,) = GalleryConfig(examples=4, columns=2, side=96).build().draw_latent(view)
    shown = pixels(figure)
    for place, row in enumerate((59, 58, 57, 56)):
        left = 16 + (place % 2) * (192 + 16)
        top = 16 + (place // 2) * (192 + 3 * 30 + 8 + 16)
        tile = shown[top : top + 150, left : left + 192]
        want = np.asarray(view.dataset.load(row).input.resize((192, 192), Image.Resampling.BICUBIC)).astype(int)
        assert np.abs(tile - want[:150]).mean() < 6
        assert str(view.dataset.ids[row]) in figure.alt
    assert "The 4 galaxies in which it is strongest" in figure.caption


def test_scale_bars_are_as_long_as_they_say(view):
    """A bar of 10 arcseconds over cut-outs of 0.5 arcseconds a pixel is 20 of their 64 pixels long."""
    found = draw.bar(0.5, 64)
    assert found == (20.0, '10"')
    (figure,) = GalleryConfig(examples=1, columns=1, side=128).build().draw_latent(view)
    tile = pixels(figure)[16 : 16 + 256, 16 : 16 + 256]
    longest = max(int((tile[y] > 235).all(axis=1).sum()) for y in range(236, 252))
    assert longest == pytest.approx(20 * 256 / 64, abs=4)


@settings(deadline=None)
@given(st.floats(0.001, 300), st.integers(48, 2000))
def test_laws_of_the_scale_bar(arcsec, width):
    found = draw.bar(arcsec, width)
    if found is None:
        return
    length, words = found
    assert 8 <= length <= width / 3
    told = float(words[:-1]) * (60 if words.endswith("'") else 1)
    assert length * arcsec == pytest.approx(told)


def test_the_saliency_bar_knows_how_the_model_resized_and_cropped(view):
    """At 96 pixels for 64 of the cut-out, an arcsecond is longer by half; cropped, the same."""
    for settings_, factor in (({"image_size": 96}, 1.0), ({"image_size": 32}, 1.0)):
        extractor = ZoobotConfig(
            model="convnext_galaxies", checkpoint="world:galaxies", device="cpu", **settings_
        ).build(view.dataset)
        example = view.dataset.load(0)
        shown = saliency._arcsec(LatentView(7, view.hook, 2.0, view.strength, view.dataset, extractor), example, 224)
        assert shown == pytest.approx(0.5 * 64 / 224 * factor, rel=0.05)


def test_contours_surround_what_is_lit(view):
    (figure,) = SaliencyConfig(levels=(0.5,), side=128).build().draw_example(view, firing(at=((2, 5),)))
    (silent,) = SaliencyConfig(levels=(0.5,), side=128).build().draw_example(view, firing(value=0.5, at=((2, 5),)))
    changed = np.abs(pixels(figure) - pixels(silent)).sum(axis=2) > 60
    y, x = np.nonzero(changed)
    centre = (2.5 * 16, 5.5 * 16)
    assert len(y) > 30
    assert y.mean() == pytest.approx(centre[0], abs=2)
    assert x.mean() == pytest.approx(centre[1], abs=2)
    assert not changed[int(centre[0]) - 2 : int(centre[0]) + 2, int(centre[1]) - 2 : int(centre[1]) + 2].any()
    assert "Contours at 50 %" in figure.caption
    assert "Nowhere above 50 %" in silent.caption


def test_contours_are_at_shares_of_the_latents_largest_value_anywhere(view):
    fired = firing(value=1.2, at=((2, 5),))
    (figure,) = SaliencyConfig(levels=(0.25, 0.5, 0.75), side=128).build().draw_example(view, fired)
    assert "Contours at 25 %, 50 % of 2, its largest value anywhere" in figure.caption


def test_smoothing_meets_the_cells_and_outlines_are_thin():
    values = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    fine = saliency.smoothed(values, (40, 60))
    np.testing.assert_allclose(fine[4:40:10, 4:60:10] / 2 + fine[5:40:10, 5:60:10] / 2, values, atol=0.1)
    assert fine.min() >= values.min() - 1e-6
    assert fine.max() <= values.max() + 1e-6
    area = np.zeros((20, 20), dtype=bool)
    area[5:15, 6:16] = True
    line = saliency.outline(area)
    assert (line <= area).all()
    assert not line[7:13, 8:14].any()
    assert line[5:7, 6:16].all()
    assert not saliency.outline(np.ones((9, 9), dtype=bool)).any()


def test_dots_stand_at_their_places_in_the_latents_colours(view):
    (figure,) = SkyConfig().build().draw_latent(view)
    shown = pixels(figure)
    canvas, at = sky_frame.plain(view.dataset.positions)
    strongest = at[59].round().astype(int)
    assert np.abs(shown[strongest[1], strongest[0]] - table()[255]).max() <= 1
    east, west = view.dataset.positions[:, 0].argmax(), view.dataset.positions[:, 0].argmin()
    north, south = view.dataset.positions[:, 1].argmax(), view.dataset.positions[:, 1].argmin()
    assert at[east, 0] < at[west, 0]  # right ascension grows to the left
    assert at[north, 1] < at[south, 1]
    assert canvas.size == (shown.shape[1], shown.shape[0])
    assert f"it fires in {int((view.strength > 0).sum())}" in figure.caption


def test_plain_maps_keep_angles():
    """At declination 60 a degree of right ascension is half as long as one of declination."""
    places = np.array([[10.0, 59.5], [12.0, 59.5], [10.0, 60.5], [12.0, 60.5]])
    _, at = sky_frame.plain(places)
    assert abs(at[1, 0] - at[0, 0]) == pytest.approx(abs(at[2, 1] - at[0, 1]), rel=0.01)


def test_fields_across_the_zero_meridian_stay_together():
    _, at = sky_frame.plain(np.array([[359.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert at[0, 0] > at[2, 0] > at[1, 0]
    assert sky_frame.extent(np.array([[359.0, 0.0], [1.0, 0.0]])) == pytest.approx(2, abs=1e-6)
    assert sky_frame.extent(np.array([[0.0, 0.0], [90.0, 0.0], [180.0, 0.0], [270.0, 0.0]])) > 100


@settings(deadline=None)
@given(st.floats(0, 360), st.floats(-90, 90))
def test_mollweide_solves_its_equation(ra, dec):
    (point,) = sky_frame.mollweide(np.array([[ra, dec]]))
    theta = np.arcsin(np.clip(point[1], -1, 1))
    assert 2 * theta + np.sin(2 * theta) == pytest.approx(np.pi * np.sin(np.radians(dec)), abs=1e-6)
    assert (point[0] / 2) ** 2 + point[1] ** 2 <= 1 + 1e-9


def test_mollweide_at_known_places():
    found = sky_frame.mollweide(np.array([[0.0, 0.0], [90.0, 0.0], [270.0, 0.0], [0.0, 90.0], [0.0, -90.0]]))
    np.testing.assert_allclose(found, [(0, 0), (-1, 0), (1, 0), (0, 1), (0, -1)], atol=1e-6)


def test_the_most_telling_votes_come_first(view):
    class Told:
        def tally(self, row):
            return {
                "smooth-or-featured": {"smooth": 0.1, "featured-or-disk": 0.9},
                "bar": {"yes": 0.2, "no": 0.8},
                "has-spiral-arms": {"yes": 0.7, "no": 0.3},
                "merging": {"none": 0.95, "merger": 0.05},
            }

    assert draw.leading(Told(), 0, 3) == [
        ("smooth-or-featured", "featured-or-disk", 0.9),
        ("has-spiral-arms", "yes", 0.7),
        ("merging", "none", 0.95),
    ]
    assert draw.leading(Told(), 0, 0) == []
    assert draw.leading(object(), 0, 3) == []


def test_other_fields_datasets_get_none_of_these(view):
    class Other:
        ids = ("a",)

    other = LatentView(7, view.hook, 2.0, np.ones(1, np.float32), Other(), view.extractor)
    for config in (GalleryConfig(), SaliencyConfig(), SkyConfig()):
        assert not config.build().applies(other)
