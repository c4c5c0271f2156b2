from types import SimpleNamespace

import numpy as np
import pytest
import torch

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST, TRAIN
from omnisae.interventions.statistics import statistics
from omnisae.postings.poles import Poles

SPLIT = np.array([TRAIN, SELECT, SELECT, TEST], dtype=np.uint8)
EXAMPLE = np.array([1, 1, 2, 2, 2, 3, 3])
DENSE = np.array([[1, 0, 0], [3, 0, 0], [0, 2, 0], [5, 4, 0], [0, 0, 0], [9, 9, 9], [0, 0, 9]], dtype=np.float32)


@pytest.fixture
def postings():
    def entries(latent):
        tokens = np.flatnonzero(DENSE[:, latent])
        return tokens, DENSE[tokens, latent]

    shown = SPLIT[EXAMPLE] == SELECT
    lists = [entries(latent) for latent in range(3)]
    return SimpleNamespace(
        latents=3,
        poles=Poles(3),
        split=SPLIT,
        example=EXAMPLE,
        entries=entries,
        offsets=np.cumsum([0, *(len(tokens) for tokens, _ in lists)]),
        token=np.concatenate([tokens for tokens, _ in lists]),
        value=np.concatenate([values for _, values in lists]),
        maxima_select=DENSE[shown].max(axis=0),
    )


def test_only_the_select_split_counts(postings):
    labels = {"red": np.array([1.0, 1.0, 0.0, 1.0]), "any": np.array([np.nan, 1.0, 1.0, 1.0])}
    found = statistics(postings, quantiles=(0.5, 1.0), concepts=labels)
    expected = {
        "max": [5, 4, 0],
        "quantile:0.5": [3, 3, 0],
        "quantile:1": [5, 4, 0],
        "concept_mean:red": [2, 0, 0],
        "concept_mean:any": [9 / 5, 6 / 5, 0],
    }
    assert set(found) == set(expected)
    for name, column in expected.items():
        torch.testing.assert_close(found[name], torch.tensor(column, dtype=torch.float32))


def test_signed_codes_have_numbers_for_either_sign(postings):
    postings.latents, postings.poles = 1, Poles(1, signed=True)
    postings.offsets, postings.maxima_select = postings.offsets[:3], postings.maxima_select[:2]
    postings.token, postings.value = postings.token[: postings.offsets[2]], postings.value[: postings.offsets[2]]
    found = statistics(postings, quantiles=(0.5,), concepts={"red": np.array([1.0, 1.0, 1.0, 1.0])})
    assert {name: column.tolist() for name, column in found.items()} == {
        "max": [5],
        "negative:max": [4],
        "quantile:0.5": [3],
        "negative:quantile:0.5": [3],
        "concept_mean:red": [pytest.approx(9 / 5)],
        "negative:concept_mean:red": [pytest.approx(6 / 5)],
    }


def test_a_concept_without_examples_is_refused(postings):
    with pytest.raises(DatasetError, match="'red' has no positive example on the select split"):
        statistics(postings, concepts={"red": np.array([1.0, 0.0, 0.0, 1.0])})
