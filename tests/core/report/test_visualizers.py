"""Core's visualizers against planted truth."""

import re

import numpy as np
import pytest
import scipy.sparse as sp

from omnisae.extract.dataset import FeatureTable
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint
from omnisae.report.visualizer import Firing, Heat, LatentView, Scatter
from omnisae.report.visualizers.bars import Bars
from omnisae.report.visualizers.grid import Grid
from omnisae.report.visualizers.histogram import Histogram
from omnisae.report.visualizers.measures import Classes, Contrasts, classes
from omnisae.report.visualizers.scatter import Map
from omnisae.report.visualizers.track import Track
from omnisae.svg import ticks


def view(world, *, pattern="example (y x) d", n=200, **changes):
    dataset = world.Discs(n, 16)
    split = np.random.default_rng(0).choice([0, 1, 2], n).astype(np.uint8)
    strength = np.where((dataset.colour == 0) & (split > 0), 2.0 + dataset.centre[:, 0], 0.0).astype(np.float32)
    hook = HookPoint(name="h", at=("h",), pattern=pattern, width=4)
    kept = {"scored": split > 0, "split": split, "values": strength[strength > 0], "tokens": 4000} | changes
    return LatentView(3, hook, float(strength.max()), strength, dataset, world.Viewer(dataset), **kept)


def test_grid_puts_every_value_in_its_place(world):
    firing = Firing(5, np.array([[0, 2], [3, 1]]), np.array([1.0, 2.5]), {"y": 4, "x": 3})
    (heat,) = Grid().draw_example(view(world), firing)
    assert isinstance(heat, Heat)
    assert heat.row == 5
    assert heat.values.shape == (4, 3)
    assert (heat.values[0, 2], heat.values[3, 1], heat.values.sum()) == (1.0, 2.5, 3.5)
    assert "fires on 2 of 12 tokens; strongest 2.5" in heat.alt
    assert "row 4 of 4, column 2 of 3" in heat.alt


def test_grid_takes_the_largest_along_further_axes_and_leaves_out_special_tokens(world):
    firing = Firing(
        0, np.array([[0, 1, 1], [1, 1, 1], [-1, -1, -1]]), np.array([1.0, 3.0, 9.0]), {"step": 2, "y": 2, "x": 2}
    )
    (heat,) = Grid().draw_example(view(world, pattern="example step y x d"), firing)
    assert heat.values.tolist() == [[0, 0], [0, 3]]
    assert "special tokens" in heat.caption


def test_visualizers_match_by_axes(world):
    flat, line, plane = (view(world, pattern=p) for p in ("example d", "example time d", "example (y x) d"))
    assert [Grid().applies(v) for v in (flat, line, plane)] == [False, False, True]
    assert [Track().applies(v) for v in (flat, line, plane)] == [False, True, False]


def test_track_draws_bars_on_the_scale_of_the_latent(world):
    seen = view(world, pattern="example time d")
    firing = Firing(0, np.array([[0], [49]]), np.array([seen.ceiling, seen.ceiling / 2]), {"time": 50})
    (figure,) = Track().draw_example(seen, firing)
    heights = [float(h) for h in re.findall(r'class="level"[^>]*height="([\d.]+)"', figure.data.decode())]
    assert heights[0] == pytest.approx(2 * heights[1], rel=1e-3)
    assert "fires on 2 of 50 steps along time" in figure.alt


def test_histogram_counts_every_value(world):
    (figure,) = Histogram(10).draw_latent(view(world, values=np.linspace(0.1, 2.0, 77).astype(np.float32)))
    tips = re.findall(r"<title>[^<]*: (\d+)</title>", figure.data.decode())
    assert sum(map(int, tips)) == 77
    assert "n = 77 of 4\u202f000 scored tokens" in figure.caption


def test_map_shows_scored_examples_only_and_the_same_part_for_every_latent(world):
    seen = view(world)
    (whole,) = Map(4000).draw_latent(seen)
    assert isinstance(whole, Scatter)
    assert len(whole.points) == int(seen.known().sum())
    first, second = Map(50).draw_latent(seen)[0], Map(50).draw_latent(seen)[0]
    assert len(first.points) == 50
    assert (first.points == second.points).all()
    assert "a random part of" in first.caption


def test_bars_find_the_planted_class_and_feature(world):
    seen = view(world)
    column, features = Bars(5).draw_latent(seen)
    assert re.search(r"Mean strength by colour: red", column.alt)
    assert re.search(r"standard deviations: hue red", features.alt)
    assert f"n = {int(seen.known(TEST).sum())} test examples" in column.caption


def test_class_means_are_ranked_on_select_and_measured_on_test():
    labels = Classes.of(["a", "b", "a", "b", "a", "b", "a", "b"])
    select = np.array([True, True, False, False, False, False, False, False])
    strength = np.array([5.0, 1.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0], dtype=np.float32)
    ranked = classes(labels, strength, select, ~select, 9)
    assert ranked.names == ["a", "b"]
    assert ranked.values == [1.0, 2.0]
    assert ranked.counts == [3, 3]
    assert ranked.control == 1.5


@pytest.mark.parametrize("sparse", [False, True])
def test_feature_differences_equal_their_definition(sparse):
    random = np.random.default_rng(4)
    values = random.poisson(1.0, (120, 6)).astype(np.float32)
    strength = np.clip(values[:, 2] - 1, 0, None).astype(np.float32) + 0.01 * (random.random(120) < 0.3)
    side = np.arange(120) % 2 == 0
    table = FeatureTable([f"f{i}" for i in range(6)], sp.csr_matrix(values) if sparse else values)
    ranked = Contrasts(10).rank(table, strength.astype(np.float32), side, ~side, 6)
    order = np.flatnonzero(~side & (strength > 0))
    strong = order[np.argsort(-strength[order], kind="stable")[:10]]
    rest = np.setdiff1d(np.flatnonzero(~side), strong)
    slow = (values[strong].mean(0) - values[rest].mean(0)) / values[~side].std(0)
    assert ranked.names[0] == "f2"
    for name, value in zip(ranked.names, ranked.values, strict=True):
        assert value == pytest.approx(slow[int(name[1:])], rel=1e-4, abs=1e-6)


def test_too_few_examples_draw_no_bars(world):
    seen = view(world)
    few = np.zeros(len(seen.strength), dtype=bool)
    few[:2] = True
    lone = LatentView(0, seen.hook, 1.0, seen.strength, seen.dataset, seen.extractor, scored=few, split=seen.split)
    assert Bars().draw_latent(lone) == []


def test_drawn_text_is_escaped(world):
    dataset = world.Discs(200, 16, hostile=True)
    base = view(world)
    hostile = LatentView(0, base.hook, base.ceiling, base.strength, dataset, base.extractor, base.scored, base.split)
    for figure in Bars().draw_latent(hostile):
        assert b"<script" not in figure.data
        assert b"<img" not in figure.data


def test_known_examples_are_those_scored(world):
    seen = view(world)
    assert seen.known().tolist() == (seen.split > 0).tolist()
    assert seen.known(SELECT).tolist() == (seen.split == SELECT).tolist()
    plain = LatentView(0, seen.hook, 1.0, seen.strength, seen.dataset, seen.extractor)
    assert plain.known().all()
    assert plain.known(TEST).all()


def test_ticks_are_round_and_inside():
    assert ticks(0, 11.5) == [0, 5, 10]
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(3, 3) == [3]
    assert ticks(0, 3, counts=True) == [0, 1, 2, 3]
