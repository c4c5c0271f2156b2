"""Masks over grids, cells by their true extent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisae.concepts.coverage import coverage


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_coverage_is_the_area_of_fine_pixels(height: int, width: int, rows: int, columns: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    fine = np.kron(mask, np.ones((rows, columns)))  # a size that both the mask and the grid divide
    slow = fine.reshape(rows, height, columns, width).mean(axis=(1, 3))
    assert coverage(mask, rows, columns) == pytest.approx(slow)


def test_a_pixel_between_two_cells_counts_for_each_by_its_area() -> None:
    mask = np.zeros((3, 2), dtype=bool)
    mask[1] = True  # the middle third: a third of either half
    assert coverage(mask, 2, 1) == pytest.approx(np.full((2, 1), 1 / 3))
