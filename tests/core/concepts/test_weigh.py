"""AUROC and Spearman from sparse mid-ranks, against scikit-learn and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from omnisae.concepts.gather import Activations
from omnisae.concepts.judge import judge
from omnisae.concepts.stream import Truth
from omnisae.concepts.weigh import sort, spearman, weigh

sklearn_metrics = pytest.importorskip("sklearn.metrics")


def sparse(dense: np.ndarray) -> Activations:
    """Rows of a dense matrix, as activations."""
    rows, units = dense.nonzero()
    edges = np.searchsorted(rows, np.arange(len(dense) + 1))
    return Activations(
        edges[:-1].astype(np.int64),
        edges[1:].astype(np.int64),
        units.astype(np.int32),
        dense[rows, units].astype(np.float32),
    )


def truth_of(labels: np.ndarray) -> Truth:
    """One concept over units; NaN is unknown. Every unit is a block and every positive an instance of its own."""
    known = np.flatnonzero(~np.isnan(labels))
    place = np.full(len(labels), -1, dtype=np.int32)
    place[known] = np.arange(len(known))
    values = labels[known]
    positives = np.flatnonzero(values == 1)
    mark = np.zeros(len(known), dtype=np.int32)
    mark[positives] = np.arange(1, len(positives) + 1)
    return Truth(
        place,
        mark,
        positives,
        np.arange(len(positives) + 1),
        np.arange(len(positives), dtype=np.int32),
        len(positives),
        np.arange(len(known) + 1),
        values,
    )


@st.composite
def rows_and_labels(draw: st.DrawFn, *, fraction: bool) -> tuple[np.ndarray, np.ndarray]:
    """Few distinct values, so that ties are everywhere; negatives and zeros among them; labels partly unknown."""
    units = draw(st.integers(4, 30))
    cell = st.sampled_from([0.0, 0.0, 0.0, -0.5, 0.25, 0.5, 1.0, 3.0])
    dense = np.array(draw(st.lists(st.lists(cell, min_size=units, max_size=units), min_size=1, max_size=4)))
    label = st.sampled_from([0.0, 1.0, np.nan] + ([0.2, 0.7] if fraction else []))
    return dense, np.array(draw(st.lists(label, min_size=units, max_size=units)))


@settings(deadline=None, max_examples=60)
@given(rows_and_labels(fraction=True))
def test_spearman_is_scipys(case: tuple[np.ndarray, np.ndarray]) -> None:
    dense, labels = case
    truth = truth_of(labels)
    known = ~np.isnan(labels)
    if known.sum() < 3:
        return
    found = spearman(weigh(sort(sparse(dense)), truth), labels[known])
    for row, rho in zip(dense, found, strict=True):
        if np.ptp(row[known]) == 0 or np.ptp(labels[known]) == 0:
            assert np.isnan(rho)
        else:
            assert rho == pytest.approx(spearmanr(row[known], labels[known]).statistic, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(rows_and_labels(fraction=False))
def test_auroc_is_scikit_learns(case: tuple[np.ndarray, np.ndarray]) -> None:
    dense, labels = case
    known = ~np.isnan(labels)
    truth = truth_of(labels)
    positives = len(truth.positives)
    if positives in (0, truth.n):
        return
    weighed = weigh(sort(sparse(dense)), truth)
    counts = judge(weighed, truth, np.zeros(len(dense)), np.ones(len(dense), dtype=np.float32))
    for row, double_rank_sum, hits, predicted in zip(
        dense, counts.rank_sum, counts.hits, counts.predicted, strict=True
    ):
        area = (double_rank_sum / 2 - positives * (positives + 1) / 2) / (positives * (truth.n - positives))
        assert area == pytest.approx(sklearn_metrics.roc_auc_score(labels[known], row[known]), abs=1e-12)
        assert predicted == (row[known] > 0).sum(), "a zero activation is never positive"
        assert hits == ((row > 0) & (labels == 1)).sum()
