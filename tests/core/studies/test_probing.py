"""Sparse probing: a planted concept is found by one latent, chance is told by none."""

import numpy as np
import pytest

from omnisae.errors import DatasetError
from omnisae.studies import probes
from omnisae.studies.configs import (
    ProbingConfig,
)
from omnisae.testing import StudyTests


def probing_room(room, folder, n=240):
    """Latent 2 is the concept; the activations rotate all latents, so that no single neuron is."""
    random = np.random.default_rng(0)
    label = (random.random(n) < 0.4).astype(float)
    codes = np.where(random.random((n, 12)) < 0.3, random.gamma(2, size=(n, 12)), 0.0)
    codes[:, 2] = label * random.uniform(1, 2, n)
    turn = np.linalg.qr(random.normal(size=(12, 12)))[0]
    noise = random.integers(0, 2, n).astype(float)
    return room.material(folder, codes, activations=codes @ turn, concepts={"planted": label, "noise": noise})


def test_one_latent_tells_a_planted_concept_and_no_neuron_does(room, answer, tmp_path):
    material = probing_room(room, tmp_path)
    found, told, _ = answer(ProbingConfig(concepts=("planted",)), material)
    one = told["AUROC, 1 latent, against neurons"]
    assert one.value == 1.0
    assert one.control < 0.95
    assert told["AUROC, all latents"].control > 0.97  # the whole of the activations tells it
    row = next(iter(found.tables.values()))[0]
    assert row["best latents"].split(", ")[0] == "2"


def test_a_concept_of_chance_is_told_by_chance(room, answer, tmp_path):
    _, told, _ = answer(ProbingConfig(k=(1, 4), concepts=("noise",)), probing_room(room, tmp_path, 600))
    for finding in told.values():
        if finding.name.startswith("AUROC"):
            assert abs(finding.value - 0.5) < 0.12, finding


def test_latents_are_chosen_on_select_alone(room, answer, tmp_path):
    material = probing_room(room, tmp_path)
    other = room.material(
        tmp_path / "b",
        probing_room(room, tmp_path / "a").strengths.toarray(),
        activations=material.activations(np.arange(240)),
        concepts={"planted": np.where(np.arange(240) % 2, np.arange(240) // 2 % 2, material.known("planted"))},
    )
    chosen = [next(iter(answer(ProbingConfig(), m)[0].tables.values()))[0]["best latents"] for m in (material, other)]
    assert chosen[0] == chosen[1]


def test_differences_are_the_formula_dense_and_sparse():
    from scipy.sparse import csr_array

    random = np.random.default_rng(1)
    values = random.gamma(1, size=(30, 4)) * (random.random((30, 4)) < 0.5)
    positive = random.random(30) < 0.5
    wanted = np.abs(values[positive].mean(axis=0) - values[~positive].mean(axis=0)) / values.std(axis=0)
    assert np.allclose(probes.differences(values, positive), wanted)
    assert np.allclose(probes.differences(csr_array(values), positive), wanted)


def test_without_a_concept_probing_says_so(room, tmp_path):
    material = room.material(tmp_path, np.ones((12, 2)))
    with pytest.raises(DatasetError, match="no binary concept has five examples with and five without"):
        ProbingConfig().build().study(material)
    with pytest.raises(DatasetError, match="no binary concept is called 'x'"):
        ProbingConfig(concepts=("x",)).build().study(material)


class TestProbing(StudyTests):
    @pytest.fixture
    def config(self):
        return ProbingConfig()

    @pytest.fixture
    def material(self, room, tmp_path):
        return probing_room(room, tmp_path)
