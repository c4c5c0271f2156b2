"""Lines of one level, against points inside and outside, and against maps whose level is known."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from omnisae_vision.views.outlines import mask_outlines, outlines, path, smooth

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
FIELDS = arrays(np.float64, SHAPES, elements=st.floats(-4, 4, width=32))


def inside(lines, x, y):
    """Even-odd: a ray to the right crosses the lines an odd number of times."""
    found = np.zeros(np.shape(x), dtype=bool)
    for line in lines:
        for (x0, y0), (x1, y1) in zip(line, np.roll(line, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            spans = (y0 > y) != (y1 > y)
            found ^= spans & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return found


@given(FIELDS, st.floats(-3, 3, width=32))
@settings(max_examples=150, deadline=None)
def test_lines_part_what_exceeds_the_level_from_the_rest(field, level):
    lines = outlines(field, level)
    y, x = np.mgrid[: field.shape[0], : field.shape[1]] + 0.5
    # A value near the level lies as near to its line: the ray from it may fall on either side.
    clear = np.abs(field - level) > 1e-3
    np.testing.assert_array_equal(inside(lines, x, y + 1e-7)[clear], (field > level)[clear])
    for line in lines:
        assert (line >= 0).all()
        assert (line <= (field.shape[1], field.shape[0])).all()


@given(arrays(bool, SHAPES))
@settings(max_examples=100, deadline=None)
def test_masks_are_outlined(mask):
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    np.testing.assert_array_equal(inside(mask_outlines(mask), x, y + 1e-7), mask)


def test_a_hill_has_a_round_line_of_the_right_size():
    y, x = np.mgrid[:60, :80] + 0.5
    (line,) = outlines(-np.hypot(y - 30, x - 40), -12.0)
    np.testing.assert_allclose(np.hypot(line[:, 1] - 30, line[:, 0] - 40), 12, atol=0.05)


def test_what_reaches_the_edge_is_closed_along_it():
    field = np.zeros((4, 6))
    field[:, :3] = 1.0
    (line,) = outlines(field, 0.5)
    assert line[:, 0].min() == 0
    assert line[:, 0].max() == 3
    assert (line[:, 1].min(), line[:, 1].max()) == (0, 4)
    (whole,) = outlines(np.ones((4, 6)), 0.5)
    assert (whole[:, 0].max(), whole[:, 1].max()) == (6, 4)
    assert outlines(np.zeros((4, 6)), 0.5) == []
    assert outlines(np.full((4, 6), 0.5), 0.5) == []


def test_a_ring_has_two_lines():
    y, x = np.mgrid[:40, :40] + 0.5
    away = np.hypot(y - 20, x - 20)
    assert len(mask_outlines((away > 6) & (away < 15))) == 2


def test_smoothing_is_that_of_the_reports_heatmaps():
    values = np.random.default_rng(0).random((3, 5))

    def between(x, y):
        left, up = min(max(x, 0), 4), min(max(y, 0), 2)
        x0, y0 = int(left), int(up)
        x1, y1 = min(x0 + 1, 4), min(y0 + 1, 2)
        fx, fy = left - x0, up - y0
        upper = values[y0, x0] * (1 - fx) + values[y0, x1] * fx
        return upper * (1 - fy) + (values[y1, x0] * (1 - fx) + values[y1, x1] * fx) * fy

    wanted = [[between((j + 0.5) * 5 / 20 - 0.5, (i + 0.5) * 3 / 18 - 0.5) for j in range(20)] for i in range(18)]
    np.testing.assert_allclose(smooth(values, 18, 20), wanted, atol=1e-12)


def test_paths_give_the_lines_back():
    y, x = np.mgrid[:30, :40] + 0.5
    lines = outlines(-np.hypot(y - 15, x - 20), -9.0)
    drawn = path(lines, 20.0, 10.0)
    (found,) = re.findall(r"M(-?\d+) (-?\d+)l([-\d ]+)z", drawn)
    steps = np.array(found[2].split(), dtype=int).reshape(-1, 2)
    corners = np.cumsum(np.vstack([[int(found[0]), int(found[1])], steps]), axis=0) / (20, 10)
    away = np.hypot(corners[:, 1] - 15, corners[:, 0] - 20)
    np.testing.assert_allclose(away, 9, atol=0.12)
    assert path([]) == ""


@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (4, 3)])
def test_what_lies_straight_is_left_out(sides):
    (line,) = mask_outlines(np.ones(sides, dtype=bool))
    assert path([line], 10, 10).count(" ") <= 2 * 8
