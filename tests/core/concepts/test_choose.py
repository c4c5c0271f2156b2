"""The choice of thresholds, against plain loops."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.concepts.choose import best_f1
from omnisae.concepts.gather import gather
from omnisae.concepts.labels import whole_labels
from omnisae.concepts.stream import stream
from omnisae.extract.split import SELECT

THRESHOLDS = np.array([0.0, 0.25, 0.5, 0.75])


def slow_best_f1(row: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """The best F1 over thresholds, one unit at a time."""
    if row.max() <= 0:
        return -1.0, 0
    best = (-1.0, 0)
    known = ~np.isnan(labels)
    for i, threshold in enumerate(THRESHOLDS):
        predicted = (row.astype(np.float32).astype(np.float64) / float(np.float32(row.max())) > threshold) & known
        hits = (predicted & (labels == 1)).sum()
        bottom = predicted.sum() + (labels == 1).sum()
        f1 = 2 * hits / bottom if bottom else -1.0
        if f1 > best[0]:
            best = (f1, i)
    return best


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 0.25, 1024.0]), st.booleans())
def test_best_f1_is_that_of_plain_loops_at_any_scale(
    tmp_path_factory: pytest.TempPathFactory,
    world_of: Callable[..., Any],
    seed: int,
    scale: float,
    unknown: bool,
) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, 12)
    tokens, latents = int(sizes.sum()), 5
    codes = rng.integers(1, 5, (tokens, latents)) * (rng.random((tokens, latents)) < 0.3) * 0.25
    codes[rng.random(codes.shape) < 0.1] *= -1
    labels = (rng.random((3, 12)) < 0.4).astype(float)
    if unknown:
        labels[rng.random(labels.shape) < 0.2] = np.nan
    split = np.array([1] * 9 + [2] * 2 + [0])
    world = world_of(codes * scale, sizes, split, labels={f"c{i}": column for i, column in enumerate(labels)})
    postings = world.postings(tmp_path_factory.mktemp("codes") / "codes")
    side = stream(whole_labels(postings, world.dataset().annotations()), postings, SELECT, np.arange(12))
    found, bins = best_f1(
        gather(postings, side, np.arange(latents)), side, postings.maxima_select, THRESHOLDS, side.positives()
    )
    pooled = np.stack([codes[world.example == i].max(axis=0) for i in range(9)])
    for latent in range(latents):
        for concept in range(3):
            f1, threshold = slow_best_f1(pooled[:, latent], labels[concept, :9])
            assert found[latent, concept] == pytest.approx(f1, abs=1e-12)
            assert f1 <= 0 or bins[latent, concept] == threshold


def test_codes_that_are_all_zero_win_nothing(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    codes = np.zeros((8, 2))
    codes[5:, 0] = 1.0  # fires on test alone: dead on select
    world = world_of(codes, [1] * 8, np.array([1] * 5 + [2] * 3), labels={"all": np.r_[1, 1, 1, 1, 0, 1, 0, 0.0]})
    postings = world.postings(tmp_path / "codes")
    side = stream(whole_labels(postings, world.dataset().annotations()), postings, SELECT, np.arange(8))
    found, _ = best_f1(gather(postings, side, np.arange(2)), side, postings.maxima_select, THRESHOLDS, side.positives())
    assert (found == -1).all()
