"""The drawing of lesions: what is in it, read back from its pixels."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from omnisae.config import HookConfig
from omnisae.report.visualizer import Firing, LatentView
from omnisae.testing import VisualizerTests
from omnisae_mammography.lesions import FOUND, TRUE
from omnisae_mammography.plugin import ExamsConfig, LesionsConfig, MammographyTimmConfig


@pytest.fixture(scope="module")
def parts(world):
    data = ExamsConfig(root=str(world), table="finding_annotations.csv").build()
    extractor = MammographyTimmConfig(
        model="efficientnet_phantoms", checkpoint="world:phantoms", device="cpu", tissue="all"
    ).build(data)
    (hook,) = extractor.resolve([HookConfig(at="bn2")])
    strength = np.linspace(0, 2, len(data)).astype(np.float32)
    return LatentView(7, hook, 2.0, strength, data, extractor)


@pytest.fixture(scope="module")
def row(parts):
    """A picture with a lesion, whose other view has one, too."""
    regions = parts.dataset.annotations().regions
    return next(r for r in range(len(parts.dataset)) if regions(r) and regions(parts.dataset.partners(r)[0]))


def firing(parts, row, value=2.0):
    where = parts.extractor.place(parts.dataset.annotations().regions(row)[0].place.where, parts.dataset.load(row))
    y, x = (int(axis.mean()) // 16 for axis in np.nonzero(where))
    return Firing(row, np.array([[y, x]]), np.array([value], dtype=np.float32), {"y": 16, "x": 12})


class TestLesions(VisualizerTests):
    @pytest.fixture
    def config(self):
        return LesionsConfig()

    @pytest.fixture
    def view(self, parts):
        return parts

    @pytest.fixture
    def firing(self, parts, row):
        return firing(parts, row)


def drawn(parts, fired, **settings):
    (figure,) = LesionsConfig(**settings).build().draw_example(parts, fired)
    return np.asarray(Image.open(io.BytesIO(figure.data)).convert("RGB")), figure


def test_both_views_stand_side_by_side_with_their_lesions(parts, row):
    picture, figure = drawn(parts, firing(parts, row), height=256)
    assert picture.shape == (256, 192 * 2 + 6, 3)
    red = (picture == TRUE).all(axis=2)
    assert red[:, :192].sum() > 40
    assert red[:, 198:].sum() > 40
    yellow = (picture == FOUND).all(axis=2)
    assert yellow[:, :192].sum() > 20
    assert not yellow[:, 198:].any()
    labels = parts.dataset.labels()
    for at in (row, parts.dataset.partners(row)[0]):
        assert f"{labels['laterality'][at]} {labels['view'][at]}" in figure.caption
    assert "1 predicted box" in figure.caption


def test_the_other_view_has_its_own_heat_on_the_same_scale(parts, row):
    other = parts.dataset.partners(row)[0]
    both = replace(parts, firing_in=lambda at: firing(parts, at))
    picture, figure = drawn(both, firing(parts, row), height=256)
    plain, _ = drawn(parts, firing(parts, row), height=256)
    assert (picture[:, :192] == plain[:, :192]).all()
    assert (picture[:, 198:] != plain[:, 198:]).any(axis=2).sum() > 40
    assert (picture[:, 198:] == FOUND).all(axis=2).sum() > 20
    assert figure.caption.count("1 predicted box") == 2
    unscored = replace(both, scored=np.arange(len(parts.dataset)) != other)
    assert "not scored" in drawn(unscored, firing(parts, row), height=256)[1].caption


def test_where_the_latent_is_silent_grey_values_stay(parts, row):
    silent = Firing(row, np.zeros((0, 2), dtype=int), np.zeros(0, dtype=np.float32), {"y": 16, "x": 12})
    picture, _ = drawn(parts, silent, height=256)
    want = parts.extractor.picture(parts.dataset.load(row))
    same = (picture[:, :192] == want).all(axis=2)
    assert same.mean() > 0.9
    assert not ((picture == FOUND).all(axis=2)).any()


def test_heat_is_on_the_latents_one_scale(parts, row):
    """Half of the latent's largest value is drawn fainter than all of it."""
    whole, half, none = (
        drawn(parts, firing(parts, row, value), height=256)[0][:, :192].astype(int) for value in (2.0, 0.5, 1e-9)
    )
    assert np.abs(whole - none).sum() > 1.3 * np.abs(half - none).sum() > 0
