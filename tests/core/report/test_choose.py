"""Which examples and which latents are shown."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omnisae.report.choose import BANDS, examples, pictured

strengths = st.lists(st.floats(0, 10, width=32), max_size=80).map(lambda values: np.array(values, dtype=np.float32))


@given(strengths, st.integers(1, 12), st.integers(0, 12), st.integers(0, 5))
def test_chosen_examples_obey_their_law(strength, top, random, seed):
    chosen = examples(strength, top=top, random=random, seed=seed)
    firing = int((strength > 0).sum())
    assert chosen.firing == firing
    assert len(chosen.top) == min(top, firing)
    assert all(strength[row] > 0 for row in chosen.rows)
    others = [row for row in range(len(strength)) if row not in chosen.top]
    assert not chosen.top or min(strength[list(chosen.top)]) >= max(strength[others], default=0)
    picked = [row for band in chosen.bands for row in band.rows]
    assert len(set(picked)) == len(picked) <= random
    assert not set(picked) & set(chosen.top)
    for band in chosen.bands:
        assert all(band.low <= strength[row] <= band.high for row in band.rows)
    if random:
        assert sum(band.n for band in chosen.bands) == firing
    assert chosen == examples(strength, top=top, random=random, seed=seed)


def test_random_examples_come_from_every_quarter():
    chosen = examples(np.arange(100, dtype=np.float32), top=5, random=8, seed=0)
    assert [len(band.rows) for band in chosen.bands] == [2] * BANDS
    assert [band.n for band in chosen.bands] == [25, 25, 25, 24]


def test_pictures_go_to_the_best_scored_then_the_most_frequent():
    margin = np.array([np.nan, 0.1, 0.5, np.nan, np.nan, 0.9])
    counts = np.array([50, 1, 1, 70, 0, 0])
    assert pictured(margin, counts, 3).tolist() == [1, 2, 3]
    assert pictured(margin, counts, 99).tolist() == [0, 1, 2, 3]
