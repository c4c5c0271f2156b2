"""Alignment: a planted latent is found, p is uniform where nothing is aligned."""

import numpy as np
import pytest
from scipy.stats import kstest

from omnisae.errors import DatasetError
from omnisae.studies.configs import (
    AlignmentConfig,
)
from omnisae.studies.novelty import novelty
from omnisae.testing import StudyTests


def alignment_room(room, folder, seed=0, n=300, planted=True):
    """Fractions of two questions, the second unknown for a third; latent 1 is bar_yes."""
    random = np.random.default_rng(seed)
    votes = {f"{q}_{a}": random.random(n) for q, a in (("smooth", "yes"), ("smooth", "no"), ("bar", "yes"))}
    votes["bar_yes"][random.random(n) < 0.33] = np.nan
    codes = np.where(random.random((n, 6)) < 0.5, random.gamma(2, size=(n, 6)), 0.0)
    if planted:
        codes[:, 1] = np.nan_to_num(votes["bar_yes"]) + 0.02 * random.random(n)
    return room.material(folder, codes, concepts=votes, seed=seed)


def test_a_planted_latent_is_aligned_and_not_novel(room, answer, tmp_path):
    found, told, measures = answer(AlignmentConfig(), alignment_room(room, tmp_path))
    assert measures["aligned with"][1] == "bar_yes"
    assert measures["alignment"][1] > 0.95
    assert measures["alignment p"][1] == pytest.approx(1 / 200)
    assert told["Best alignment"].p == pytest.approx(1 / 200)
    assert measures["novelty"][1] < min(np.delete(measures["novelty"], 1))
    assert np.delete(measures["novelty"], 1).min() > 0.9
    table = {row["question"]: row for row in found.tables["By question"]}
    assert table["bar"]["best latent"] == "1"
    assert table["smooth"]["fractions"] == 2


def test_excluded_questions_are_left_out(room, answer, tmp_path):
    material = alignment_room(room, tmp_path)
    found, _, _ = answer(AlignmentConfig(exclude=("bar",), permutations=19), material)
    assert [row["question"] for row in found.tables["By question"]] == ["smooth"]
    with pytest.raises(DatasetError, match=r"\(3 given, 3 excluded\)"):
        answer(AlignmentConfig(exclude=("bar", "smooth")), material)


def test_the_p_of_the_maximum_is_uniform_where_nothing_is_aligned(room, answer, tmp_path):
    lone, best = [], []
    for seed in range(60):
        material = alignment_room(room, tmp_path / str(seed), 100 + seed, 60, planted=False)
        _, told, measures = answer(AlignmentConfig(permutations=99), material)
        lone += measures["alignment p"][:1].tolist()
        best.append(told["Best alignment"].p)
    assert kstest(lone, "uniform").pvalue > 0.01
    assert kstest(best, "uniform").pvalue > 0.01


def test_novelty_of_noise_is_one_and_of_a_combination_none():
    random = np.random.default_rng(0)
    fractions = random.random((300, 4))
    units = np.stack([fractions @ [1, 2, 0, -1], random.normal(size=300), np.ones(300)], axis=1)
    fractions[random.random(300) < 0.05, 2] = np.nan
    found = novelty(fractions, units, np.arange(300) % 5)
    assert found[0] < 0.01
    assert found[1] > 0.97
    assert np.isnan(found[2])


class TestAlignment(StudyTests):
    @pytest.fixture
    def config(self):
        return AlignmentConfig(permutations=19)

    @pytest.fixture
    def material(self, room, tmp_path):
        return alignment_room(room, tmp_path)
