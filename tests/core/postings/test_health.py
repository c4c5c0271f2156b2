"""Explained variance and its siblings, against one-shot formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.postings.health import Reconstruction, density, health


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from([0.0, 1e6]))
@settings(deadline=None)  # the first call compiles
def test_explained_variance_streams_in_any_batches(seed: int, batch: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(23, 3)) + offset).astype(np.float32)
    decoded = (x + rng.normal(size=x.shape) * 0.5).astype(np.float32)
    stream = Reconstruction()
    for start in range(0, len(x), batch):
        stream.add(x[start : start + batch], decoded[start : start + batch], 2 * len(x[start : start + batch]))
    wide = x.astype(np.float64)
    error, spread = ((wide - decoded) ** 2).sum(), ((wide - wide.mean(axis=0)) ** 2).sum()
    assert stream.explained_variance == pytest.approx(1 - error / spread, abs=1e-9)
    assert stream.mse == pytest.approx(error / x.size)
    assert stream.l0 == 2.0


def test_tokens_that_are_all_alike_give_no_nan() -> None:
    x = np.ones((4, 2), np.float32)
    perfect, poor, empty = Reconstruction(), Reconstruction(), Reconstruction()
    perfect.add(x, x, 0)
    poor.add(x, 0 * x, 0)
    assert (perfect.explained_variance, poor.explained_variance, empty.mse, empty.l0) == (1.0, 0.0, 0.0, 0.0)


def test_density_counts_every_latent_once() -> None:
    counts = np.array([0, 0, 1, 10, 1000, 1000])
    found = density(counts, 1000)
    assert found["dead"] == 2
    assert sum(found["latents"]) == 4
    edges = np.array(found["edges"])
    assert found["latents"][int(np.searchsorted(edges, -3))] == 1  # one in a thousand
    assert found["latents"][-1] == 2  # always
    assert health(Reconstruction(), counts, 1000)["dead_fraction"] == pytest.approx(2 / 6)
