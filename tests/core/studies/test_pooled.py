"""One vector an example, beside a slow reference."""

import numpy as np
import pytest

from omnisae.extract.split import SELECT, TEST
from omnisae.studies.pooled import energies, tokens_of


@pytest.fixture
def ragged(room, tmp_path):
    random = np.random.default_rng(3)
    example = np.repeat(np.arange(9), [3, 1, 4, 2, 5, 1, 2, 3, 2])
    codes = np.where(random.random((len(example), 4)) < 0.4, random.gamma(2, size=(len(example), 4)), 0.0)
    activations = random.normal(size=(len(example), 6))
    split = np.array([0, 1, 2, 1, 2, 1, 2, 0, 2], dtype=np.uint8)
    made = room.material(tmp_path, codes, activations=activations, example=example, split=split)
    return made, codes, activations, example, split


def test_codes_are_pooled_as_a_loop_does(ragged):
    made, codes, _, example, split = ragged
    for row in range(9):
        mine = codes[example == row] if split[row] else np.zeros((1, 4))
        assert np.allclose(made.strengths.toarray()[row], mine.max(axis=0))
        assert np.allclose(made.means.toarray()[row], mine.mean(axis=0))
        assert np.allclose(energies(made.postings).toarray()[row], (mine**2).sum(axis=0))
    assert tokens_of(made.postings).tolist() == [0, 1, 4, 2, 5, 1, 2, 0, 2]


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("side", [SELECT, TEST])
def test_activations_are_pooled_as_a_loop_does(ragged, pool, side):
    made, _, activations, example, _ = ragged
    rows = made.rows(side)[::-1]
    found = made.activations(rows, pool)
    wanted = [getattr(activations[example == row], pool)(axis=0) for row in rows]
    assert np.allclose(found, wanted, atol=1e-6)
