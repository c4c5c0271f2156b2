"""Outliers: planted ones are told, made-up ones are not."""

import numpy as np
import pytest
import torch

from omnisae.errors import DatasetError
from omnisae.studies.configs import (
    OutliersConfig,
)
from omnisae.studies.outliers import rarity
from omnisae.testing import StudyTests


def outliers_room(room, folder, n=300, shift=True):
    """The usual use the first four directions, outliers the last two and something outside the dictionary."""
    random = np.random.default_rng(6)
    truth = np.linalg.qr(random.normal(size=(12, 12)))[0]
    odd = random.random(n) < 0.2
    mixture = np.zeros((n, 12))
    for row, is_odd in zip(mixture, odd, strict=True):
        kinds = ([4, 5] if is_odd else [0, 1, 2, 3]) if shift else [0, 1, 2, 3]
        row[random.choice(kinds, 2, replace=False)] = random.uniform(1, 2, 2)
        row[6:] = random.normal(size=6) * (0.4 if is_odd and shift else 0.1)
    x = mixture @ truth
    folder.mkdir(parents=True, exist_ok=True)
    artifact = room.artifact(folder / "sae", truth[:6], x)
    codes = room.autoencoder(truth[:6]).encode(torch.from_numpy(x).float()).dense().numpy()
    return room.material(folder, codes, activations=x, artifact=artifact, concepts={"odd": odd * 1.0})


def test_planted_outliers_are_told(room, answer, tmp_path):
    _, told, measures = answer(OutliersConfig(column="odd", permutations=49), outliers_room(room, tmp_path))
    for name in ("AUROC, Rarity", "AUROC, Residual", "AUROC, Rarity and residual"):
        assert told[name].value > 0.95, name
        assert told[name].p == 0.02
        assert "the better of both controls" in told[name].against
    assert measures["tells outliers"][[4, 5]].min() > 0.6
    assert measures["tells outliers"][:4].max() < 0.5


def test_outliers_that_are_none_are_not_told(room, answer, tmp_path):
    _, told, _ = answer(OutliersConfig(column="odd", permutations=49), outliers_room(room, tmp_path, 600, shift=False))
    for finding in told.values():
        assert abs(finding.value - 0.5) < 0.13, finding
        assert finding.low < 0.5 < finding.high, finding


def test_rarity_is_the_formula():
    from scipy.sparse import csr_array

    fit = csr_array(np.array([[1.0, 0], [2, 0], [1, 3]]))
    x = np.array([[2.0, 1], [0, 5], [0, 0]])
    weight = -np.log(np.array([4, 2]) / 5)
    wanted = [(2 * weight[0] + weight[1]) / 3, weight[1], np.log(5)]
    assert np.allclose(rarity(fit, csr_array(x)), wanted)


def test_too_few_outliers_are_refused(room, answer, tmp_path):
    material = room.material(tmp_path, np.ones((40, 2)), concepts={"odd": (np.arange(40) < 4) * 1.0})
    with pytest.raises(DatasetError, match="2 test examples are outliers and 18 are not"):
        answer(OutliersConfig(column="odd"), material)


class TestOutliers(StudyTests):
    @pytest.fixture
    def config(self):
        return OutliersConfig(column="odd", permutations=19)

    @pytest.fixture
    def material(self, room, tmp_path):
        return outliers_room(room, tmp_path)
