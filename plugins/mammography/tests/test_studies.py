"""The studies: each number on planted truth, beside its control, and the formulas against slow references."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from omnisae.concepts.annotations import Annotations, Mask, Region
from omnisae.errors import DatasetError
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.writer import PostingsWriter
from omnisae.studies.ranks import weighted_auroc
from omnisae.studies.study import Material
from omnisae.testing import StudyTests
from omnisae.tokens.filter import TokenFilter
from omnisae_mammography import maps
from omnisae_mammography.contrast import contrast
from omnisae_mammography.froc import Marks, hits, sensitivity
from omnisae_mammography.plugin import LocalisationConfig, RankingConfig

GRID, CELL, LATENTS, EXAMPLES = (8, 6), 8, 8, 80


class Planted(Dataset):
    """Half of the pictures hold a lesion of 2 × 2 cells; `place` tells where."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.place = {row: (int(random.integers(0, 7)), int(random.integers(0, 5))) for row in range(0, EXAMPLES, 2)}
        self._ids = [f"e{row}" for row in range(EXAMPLES)]

    @property
    def ids(self):
        return self._ids

    def load(self, row):
        return Example(row, self._ids[row], np.zeros((GRID[0] * CELL, GRID[1] * CELL), dtype=np.uint16))

    def fingerprint(self):
        return "planted"

    def mask(self, row):
        where = np.zeros((GRID[0] * CELL, GRID[1] * CELL), dtype=bool)
        y, x = self.place[row]
        where[y * CELL : (y + 2) * CELL, x * CELL : (x + 2) * CELL] = True
        return where

    def regions(self, row):
        return [Region("Mass", 1, Mask(self.mask(row)))] if row in self.place else []

    def annotations(self):
        label = np.array([float(row in self.place) for row in range(EXAMPLES)])
        return Annotations(self._ids, {"has_Mass": label}, self.regions, ("Mass",))


class Shown:
    """What localisation asks of an extractor."""

    def picture(self, example):
        return np.zeros((*example.input.shape, 3), dtype=np.uint8)

    def place(self, mask, example):
        return mask


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Latent 0 fires in the lesion alone; 1 is loud everywhere; 2 fires at random; 3 is silent in lesions' pictures."""
    folder, data = tmp_path_factory.mktemp("studies"), Planted()
    random = np.random.default_rng(1)
    split = np.where(np.arange(EXAMPLES) // 2 % 2 == 0, SELECT, TEST).astype(np.uint8)
    hook = HookPoint(name="map", at=("m",), pattern="example d y x", sizes={"y": GRID[0], "x": GRID[1]}, width=4)
    tokens = GRID[0] * GRID[1]
    example = np.repeat(np.arange(EXAMPLES), tokens)
    y, x = (np.tile(axis.ravel(), EXAMPLES) for axis in np.indices(GRID))
    codes = np.zeros((EXAMPLES * tokens, LATENTS), dtype=np.float32)
    for row, (top, left) in data.place.items():
        inside = (example == row) & (y >= top) & (y < top + 2) & (x >= left) & (x < left + 2)
        codes[inside, 0] = 2.0 + random.random(int(inside.sum()))
    codes[:, 1] = 5.0 + random.random(len(codes))
    codes[:, 2] = (random.random(len(codes)) < 0.05) * random.random(len(codes))
    codes[:, 3] = ~np.isin(example, list(data.place)) * random.random(len(codes))
    writer = PostingsWriter(folder / "codes", hook, TokenFilter(), LATENTS, split, {})
    with writer:
        offsets = np.concatenate([[0], np.cumsum((codes > 0).sum(axis=1))])
        _, latents = np.nonzero(codes)
        coords = np.stack([y, x], axis=1).astype(np.int32)
        writer.append(example, coords, np.zeros(len(codes), dtype=np.uint8), offsets, latents, codes[codes > 0])
        postings = writer.finish(health(Reconstruction(), writer.counts, len(codes)))
    return Material(
        postings=postings, source=None, dataset=data, extractor=Shown(), artifact=folder / "sae", levels=[],
        table={"concept": np.array(["Mass", "Mass"]), "list": np.array([0, 2]), "level": np.array(["token", "token"])},
        siblings=(), seed=0, folder=folder, groups=np.arange(EXAMPLES) // 2,
    )  # fmt: skip


class TestRanking(StudyTests):
    @pytest.fixture
    def config(self):
        return RankingConfig(top=3, draws=60)

    @pytest.fixture
    def material(self, material):
        return material


class TestLocalisation(StudyTests):
    @pytest.fixture
    def config(self):
        return LocalisationConfig(draws=60)

    @pytest.fixture
    def material(self, material):
        return material


def by_name(findings):
    return {finding.name: finding for finding in findings.findings}


def test_contrast_ranks_what_differs_and_the_mean_what_is_loud(material):
    found = RankingConfig(top=3, draws=60).build().study(material)
    (rows,) = found.tables.values()
    assert rows[0]["by contrast"] == 0
    assert rows[0]["by mean"] == 1
    first = by_name(found)["Contrast of the first latent by contrast, has_Mass"]
    assert first.low <= first.value <= first.high
    assert first.value > 5 > abs(first.control)
    (measure,) = found.measures
    assert measure.values[0] == pytest.approx(first.value)
    assert measure.values[3] < -1


def test_a_latent_in_the_lesion_points_at_it(material):
    found = by_name(LocalisationConfig(draws=60).build().study(material))
    lesions = sum(material.postings.split[row] == TEST for row in material.dataset.place)
    assert found["Pointing game, Mass"].value == 1
    assert found["Pointing game, Mass"].control < 0.4
    assert found["IoU of boxes, Mass"].value > 0.5 > found["IoU of boxes, Mass"].control
    assert found["IoU of lit pixels, Mass"].value > 0.5
    first = found["Sensitivity at 0.25 false marks an image, Mass"]
    assert (first.value, first.n) == (1, lesions)
    assert first.control < 0.5


def test_a_latent_at_random_does_not(material):
    wrong = replace(material, table={k: v[::-1] for k, v in material.table.items()})
    found = by_name(LocalisationConfig(draws=60).build().study(wrong))
    assert found["IoU of boxes, Mass"].value < 0.2
    assert found["Pointing game, Mass"].value < 0.4


def test_without_places_localisation_says_so(material):
    hook = HookPoint(name="pooled", at=("m",), pattern="example d", width=4)
    with pytest.raises(DatasetError, match="places need y and x"):
        maps.check(hook)


def test_an_unknown_concept_is_named(material):
    with pytest.raises(DatasetError, match="no concept of regions is called 'Mas'") as caught:
        LocalisationConfig(concepts=("Mas",)).build().study(material)
    assert "'Mass'" in caught.value.remedy


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 40), st.integers(1, 6))
def test_the_contrast_is_cohens_d(seed, rows, lists):
    """Against its formula, and weights are repetitions."""
    from scipy.sparse import csr_array

    random = np.random.default_rng(seed)
    codes = random.random((rows, lists)) * (random.random((rows, lists)) < 0.7)
    positive = np.arange(rows) % 2 == 0
    weights = random.integers(0, 3, rows)
    weights[:2] = 1
    found = contrast(csr_array(codes), positive, weights.astype(float))
    repeated, sides = np.repeat(codes, weights, axis=0), np.repeat(positive, weights)
    one, other = repeated[sides], repeated[~sides]
    spread = np.sqrt((one.var(axis=0) + other.var(axis=0)) / 2)
    want = np.divide(one.mean(0) - other.mean(0), spread, out=np.zeros(lists), where=spread > 1e-7)
    close = spread > 1e-7
    np.testing.assert_allclose(found.d[close], want[close], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.within, one.mean(axis=0))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 30))
def test_the_weighted_auroc_is_that_of_repeated_rows(seed, rows):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, rows).astype(float)
    positive = np.arange(rows) % 2 == 0
    weights = random.integers(0, 4, (3, rows))
    weights[:, :2] += 1
    found = weighted_auroc(scores, positive, weights.astype(float))
    for draw, value in zip(weights, found, strict=True):
        assert value == pytest.approx(roc_auc_score(np.repeat(positive, draw), np.repeat(scores, draw)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.sampled_from([0.25, 0.5, 1.0, 2.0]))
def test_the_free_response_curve_is_that_of_every_threshold(seed, images, rate):
    """Against trying every threshold, and more false marks never find fewer lesions."""
    random = np.random.default_rng(seed)
    marks, lesions, wrong = Marks(), [], []
    for row in range(images):
        count, made = int(random.integers(0, 3)), int(random.integers(0, 5))
        values = random.random(made).tolist()
        hit = [list(np.flatnonzero(random.random(count) < 0.4)) for _ in range(made)]
        marks.add(row, values, hit, count)
        lesions += [max((v for v, h in zip(values, hit, strict=True) if i in h), default=-1.0) for i in range(count)]
        wrong += [v for v, h in zip(values, hit, strict=True) if not h]
    found = sensitivity(marks, np.ones(images), [rate, rate + 1])
    if not lesions:
        assert np.isnan(found).all()
        return
    thresholds = [0.0, *sorted([*lesions, *wrong]), 2.0]
    allowed = [t for t in thresholds if sum(v >= t for v in wrong) <= rate * images]
    want = max(np.mean([v >= max(t, 0.0) and v >= 0 for v in lesions]) for t in allowed)
    assert found[0] == pytest.approx(want)
    assert found[1] >= found[0]


def test_a_peak_on_the_edge_of_a_box_hits_it():
    assert hits([(3, 2), (3, 7), (9, 6)], [(2, 3, 7, 9)]) == [[0], [], []]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 6)] * 2), min_size=2, max_size=2))
def test_the_iou_of_boxes_is_that_of_their_pixels(pair):
    boxes = [(x, y, x + w, y + h) for x, y, w, h in pair]
    masks = []
    for x0, y0, x1, y1 in boxes:
        mask = np.zeros((20, 20), dtype=bool)
        mask[y0:y1, x0:x1] = True
        masks.append(mask)
        assert maps.bounds(mask) == (x0, y0, x1, y1)
    want = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    assert maps.box_iou(*boxes) == pytest.approx(want)


def test_matching_is_the_best_of_all_matchings():
    truth, found = [(0, 0, 10, 10), (5, 0, 15, 10)], [(4, 0, 14, 10), (30, 30, 40, 40)]
    assert maps.matched(truth, found)[0] == 0
    assert maps.matched(truth, found)[1] == pytest.approx(maps.box_iou(truth[1], found[0]))
    assert maps.matched(truth, []) == [0.0, 0.0]


def test_areas_are_those_above_the_threshold():
    picture = np.zeros((20, 20), dtype=np.float32)
    picture[2:6, 3:8], picture[12:18, 12:18], picture[0, 19] = 1.0, 0.5, 0.9
    first, second = maps.areas(picture, 0.3, 10)
    assert first.box == (3, 2, 8, 6)
    assert (second.box, second.value) == ((12, 12, 18, 18), 0.5)
    assert [area.box for area in maps.areas(picture, 0.6, 10)] == [(3, 2, 8, 6)]
    assert maps.areas(np.zeros((4, 4)), 0.3, 1) == []


def test_an_upsampled_map_peaks_in_the_middle_of_its_cell():
    grid = np.zeros((4, 3))
    grid[2, 1] = 3.0
    peak = np.unravel_index(maps.upsampled(grid, (40, 30)).argmax(), (40, 30))
    assert (peak[0] // 10, peak[1] // 10) == (2, 1)
