"""q-values, against scipy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from omnisae.concepts.multiplicity import benjamini_hochberg


@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=30))
def test_q_values_are_scipys_and_pass_over_nan(values: list[float]) -> None:
    p = np.array(values, dtype=np.float64)
    q = benjamini_hochberg(p)
    known = ~np.isnan(p)
    assert (np.isnan(q) == ~known).all()
    if known.any():
        assert q[known] == pytest.approx(false_discovery_control(p[known]), abs=1e-15)
