"""Grids of edited pictures, and lines of a rate by strength."""

import io
import re
from html import unescape

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scipy.stats import binomtest

from omnisae.errors import OmnisaeError
from omnisae.report.scale import lightness
from omnisae_diffusion.views import canvas, difference, grids, lines, outline

TICKS = tuple(float(time) for time in range(950, -1, -50))
HOSTILE = "<script>alert(1)</script>\"&'"
GRID, ROWS = 8, 40
PANEL = re.compile(r'<svg x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</svg>', re.DOTALL)


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(figure.data)))


def picture(*ink, side=16):
    return np.full((side, side, 3), ink, dtype=np.uint8)


# -- grids -----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_difference_is_the_mean_over_colours_of_absolute_differences(data):
    shape = (data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4)), 3)
    a, b = (data.draw(arrays.arrays(np.uint8, shape)) for _ in range(2))
    got = difference.difference(a, b)
    for y in range(shape[0]):
        for x in range(shape[1]):
            slow = sum(abs(int(b[y, x, c]) - int(a[y, x, c])) for c in range(3)) / 3
            assert got[y, x] == pytest.approx(slow, rel=1e-5)
    assert (difference.difference(b, a) == got).all()


def test_the_scale_of_differences_rises_evenly_from_black():
    light = lightness(difference.table().astype(float))
    assert light[0] < 1
    assert (light[8:] > light[:-8]).all()
    step = np.diff(light[::32])
    assert step[1:].max() / step[1:].min() < 2
    assert difference.coloured(np.zeros((1, 1)), 5.0)[0, 0].tolist() == difference.table()[0].tolist()
    assert difference.coloured(np.full((1, 1), 9.0), 5.0)[0, 0].tolist() == difference.table()[-1].tolist()


def column(image, number, columns, side):
    """The colours in the middle of a column from top to bottom."""
    wide = (image.shape[1] - canvas.GAP) // columns
    return image[:, canvas.GAP + number * wide + side // 2]


def test_a_grid_shows_pictures_pixel_by_pixel_and_differences_on_one_scale():
    before = [picture(10, 20, 30), picture(10, 20, 30)]
    after = [picture(110, 120, 130), picture(60, 70, 80)]
    figure = grids.before_after(before, after, ["one", "two"], seeds=[3, 4])
    image = pixels(figure)
    side = 192  # 12 times 16
    assert (column(image, 0, 3, side) == (10, 20, 30)).all(axis=1).sum() == 2 * side
    assert (column(image, 1, 3, side) == (60, 70, 80)).all(axis=1).sum() == side
    shown = column(image, 2, 3, side)
    assert (shown == difference.table()[255]).all(axis=1).sum() == side, "the largest ends the scale"
    assert (shown == difference.table()[128]).all(axis=1).sum() == side, "half of it is half of the scale"
    assert "0 to 100; its mean over all: after 75" in figure.caption
    assert "one, seed 3: after mean 100, largest 100 at row 1, column 1; two, seed 4: after mean 50" in figure.alt


def test_a_control_has_its_own_columns_on_the_same_scale():
    before, after, control = [picture(0, 0, 0)], [picture(90, 90, 90)], [picture(0, 0, 0)]
    figure = grids.before_after(before, after, [HOSTILE], control=control, control_name="random direction")
    image = pixels(figure)
    assert (column(image, 4, 5, 192) == difference.table()[0]).all(axis=1).sum() == 192
    assert "after 90, random direction 0" in figure.caption
    assert "random direction no difference" in figure.alt
    assert HOSTILE in figure.alt, "the page escapes it"


def test_pictures_are_magnified_by_whole_factors_and_large_ones_are_shrunk():
    random = np.random.default_rng(0)
    small = random.integers(0, 255, (16, 12, 3), dtype=np.uint8)
    shown = np.asarray(canvas.fitted(small, 100))
    assert shown.shape == (96, 72, 3)
    assert (shown[::6, ::6] == small).all()
    assert (shown[5::6, 5::6] == small).all()
    large = random.integers(0, 255, (512, 256, 3), dtype=np.uint8)
    assert np.asarray(canvas.fitted(large, 192)).shape == (192, 96, 3)
    middle = random.integers(0, 255, (130, 130, 3), dtype=np.uint8)
    assert (np.asarray(canvas.fitted(middle, 400)) == middle).all()
    assert canvas.sizes([small], 100) == "pictures of 12 × 16 pixels, magnified 6 times"
    assert canvas.sizes([large], 192) == "pictures of 256 × 512 pixels, shown at most 192 wide or high"


def test_a_sweep_says_how_far_each_strength_lies_from_none():
    rows = [[picture(100 + 10 * k, 100, 100) for k in range(3)] for _ in range(2)]
    figure = grids.sweep(
        rows, (-1.0, 0.0, 2.0), ["7 in chalk", ""], seeds=[5, 6], below=[["3", "3", "7"], ["a", "b", "c"]]
    )
    assert "at the strengths −1, 0, +2. Mean difference from strength 0, of 255 levels: −1 3.33, +2 3.33." in figure.alt
    assert "7 in chalk, seed 5: 3, 3, 7; seed 6: a, b, c" in figure.alt
    image = pixels(figure)
    for k in range(3):
        assert (column(image, k, 3, 192) == (100 + 10 * k, 100, 100)).all(axis=1).sum() == 2 * 192
    assert "Mean difference" not in grids.sweep(rows, (1.0, 2.0, 4.0), ["", ""]).alt


def test_a_painted_area_is_outlined_and_measured_inside_and_outside():
    before, after = picture(50, 50, 50), picture(50, 50, 50)
    mask = np.zeros((4, 4), dtype=bool)
    mask[:2, 2:] = True
    after[:8, 8:] = (110, 110, 110)
    after[15, 0] = (53, 53, 53)
    figure = grids.painted([before], [after], [mask], ["7"], seeds=[1])
    assert "painted 25 % of it, mean difference 60 inside and 0.0156 outside" in figure.alt
    assert "its mean 60 inside the area and 0.0156 outside" in figure.caption
    drawn = outline.outlined(before, outline.scaled(mask, (16, 16)), 192)
    line = (drawn == outline.LINE).all(axis=2)
    inside = np.kron(mask, np.ones((48, 48), dtype=bool))
    assert line.any()
    assert not line[~inside].any(), "the line lies within the area"
    assert (drawn[24, 144] == 50).all()
    assert line[0, 100:190].all(), "along the picture's border, too"


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 4))
def test_a_coarse_mask_covers_the_same_shares(cells, factor):
    mask = np.random.default_rng(cells).random((cells, cells)) < 0.5
    wide = outline.scaled(mask, (cells * factor, cells * factor))
    assert (wide == np.kron(mask, np.ones((factor, factor), dtype=bool))).all()


def test_texts_are_written_in_signs_that_the_typeface_has():
    text = canvas.writable("−3 → “é” × … 中 ß\n<b>")
    assert text == '-3 -> "e" x ... ? ss <b>'
    assert canvas.writable("plain 0.5 %") == "plain 0.5 %"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": ["a"]}, "labels has 1 items and before 2"),
        ({"seeds": [1, 2, 3]}, "seeds has 3 items and before 2"),
        ({"before": [], "after": [], "labels": []}, "before is empty"),
        ({"after": [picture(0, 0, 0), np.zeros((16, 16, 3))]}, "after[1] is float64 (16, 16, 3); a picture is uint8"),
        (
            {"after": [picture(0, 0, 0), picture(0, 0, 0, side=8)]},
            "after: pictures of row 2 have 16 × 16 before and 8 × 8",
        ),
    ],
)
def test_what_does_not_fit_is_said(change, said):
    given = {"before": [picture(0, 0, 0)] * 2, "after": [picture(9, 9, 9)] * 2, "labels": ["a", "b"]} | change
    with pytest.raises(OmnisaeError) as error:
        grids.before_after(**given)
    assert said in error.value.problem
    assert error.value.remedy


# -- lines -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_are_wilsons(count):
    wanted = binomtest(*count).proportion_ci(method="wilson")
    assert lines.wilson(*count) == pytest.approx((wanted.low, wanted.high), abs=1e-6)


def test_lines_stand_at_their_shares_and_the_control_beside_them():
    figure = lines.strength_lines([0, 1, 2], {"7": [(0, 10), (5, 10), (10, 10)]}, [(1, 10), (1, 10), (1, 10)])
    drawn = figure.data.decode()
    own, control = (
        [float(p.split(",")[1]) for p in points.split()] for points in re.findall(r'<polyline points="([^"]*)"', drawn)
    )
    assert own[0] - own[1] == pytest.approx(own[1] - own[2], abs=0.02)
    assert (own[0] - control[0]) / (own[0] - own[2]) == pytest.approx(0.1, abs=0.001)
    assert "n = 10 at a point" in figure.caption
    assert "Grey: random direction." in figure.caption
    assert "7: 0 % at 0 (0 of 10, 0 % to 27.8 %), 50 % at 1 (5 of 10, 23.7 % to 76.3 %)" in figure.alt
    assert "random direction: 10 % at 0 (1 of 10," in figure.alt


def test_names_of_targets_are_escaped():
    figure = lines.strength_lines([0, 1], {HOSTILE: [(1, 2), (2, 2)]})
    drawn = figure.data.decode()
    assert "<script" not in drawn
    assert HOSTILE in unescape(drawn)
    assert "No control was run." in figure.caption


def test_sixteen_targets_are_told_apart_and_no_more():
    counts = [(1, 4), (2, 4)]
    drawn = lines.strength_lines([0, 1], {str(i): counts for i in range(16)}).data.decode()
    assert len(set(re.findall(r'<polyline [^>]*style="([^"]*)"', drawn))) == 16
    with pytest.raises(OmnisaeError, match="17 targets; 1 to 16"):
        lines.strength_lines([0, 1], {str(i): counts for i in range(17)})


def test_strengths_too_near_are_spaced_evenly_and_said():
    figure = lines.strength_lines([0, 0.5, 1, 2, 32], {"a": [(1, 4)] * 5})
    assert "Strengths are evenly spaced." in figure.caption
    (points,) = re.findall(r'<polyline points="([^"]*)"', figure.data.decode())
    gaps = np.diff([float(p.split(",")[0]) for p in points.split()])
    assert gaps == pytest.approx([gaps[0]] * 4, abs=0.02)


def test_what_was_not_counted_leaves_a_gap():
    figure = lines.strength_lines([0, 1, 2], {"a": [(1, 4), (0, 0), (2, 4)]})
    assert figure.data.decode().count("<circle") == 3, "two points and the key"
    assert "– at 1 (0 of 0" in figure.alt


@pytest.mark.parametrize(
    ("strengths", "counts", "said"),
    [
        ([1, 0], [(1, 2), (1, 2)], "they must ascend"),
        ([0, 1], [(1, 2)], "a has 1 counts for 2 strengths"),
        ([0, 1], [(3, 2), (1, 2)], "a has 3 hits of 2"),
    ],
)
def test_counts_that_make_no_sense_are_said(strengths, counts, said):
    with pytest.raises(OmnisaeError) as error:
        lines.strength_lines(strengths, {"a": counts})
    assert said in error.value.problem
