"""Ranks of many columns, beside scikit-learn and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from omnisae.studies.maxima import Correlations
from omnisae.studies.ranks import auroc, blocks, spearman


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_auroc_and_spearman_are_the_references(seed):
    random = np.random.default_rng(seed)
    values = np.round(random.gamma(1, size=(40, 5)), 1) * (random.random((40, 5)) < 0.6)
    positive = random.random(40) < 0.4
    positive[:2] = [True, False]
    other = np.round(random.normal(size=40), 1)
    assert np.allclose(auroc(values, positive), [roc_auc_score(positive, column) for column in values.T])
    for found, column in zip(spearman(values, other), values.T, strict=True):
        assert found == pytest.approx(spearmanr(column, other)[0], abs=1e-12)


def test_a_constant_column_has_no_correlation_and_one_side_no_auroc():
    assert np.isnan(spearman(np.ones((5, 1)), np.arange(5.0))[0])
    assert np.isnan(auroc(np.arange(5.0)[:, None], np.zeros(5, dtype=bool))[0])
    assert auroc(np.ones((4, 1)), np.array([True, False, True, False]))[0] == 0.5


def test_blocks_are_the_chosen_rows():
    values = np.random.default_rng(0).random((9, 1100)) * (np.random.default_rng(1).random((9, 1100)) < 0.1)
    rows = np.array([7, 2, 2, 5])
    for matrix in (values, csc_array(values)):
        assert np.array_equal(np.concatenate([found for _, found in blocks(matrix, rows)], axis=1), values[rows])


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_correlations_with_gaps_are_scipys_among_the_known(seed):
    random = np.random.default_rng(seed)
    units = np.round(random.gamma(1, size=(30, 4)), 1) * (random.random((30, 4)) < 0.6)
    fractions = np.round(random.random((30, 5)), 1)
    fractions[random.random(30) < 0.3, :2] = np.nan
    fractions[random.random(30) < 0.5, 3] = np.nan
    shuffle = random.permutation(30)
    for order in (None, shuffle):
        found = Correlations(units, fractions).spearman(order)
        laid = fractions if order is None else fractions[order]
        for unit in range(4):
            for fraction in range(5):
                known = ~np.isnan(laid[:, fraction])
                wanted = spearmanr(units[known, unit], laid[known, fraction])[0]
                assert found[unit, fraction] == pytest.approx(np.nan_to_num(wanted), abs=1e-9)
