"""Agreement: the same dictionary is found again, another agrees as chance does."""

import numpy as np
import pytest
import torch

from omnisae.errors import ArtifactError, DatasetError
from omnisae.extract.split import SELECT
from omnisae.studies.agreement import jaccard, top_examples
from omnisae.studies.configs import (
    AgreementConfig,
)
from omnisae.testing import StudyTests


def agreement_room(room, folder, same, *, rule="core.topk"):
    """Tokens of two of eight directions; the sibling has the same directions in another order, or others."""
    random = np.random.default_rng(4)
    truth = np.linalg.qr(random.normal(size=(16, 16)))[0][:8]
    mixture = np.zeros((160, 8))
    for row in mixture:
        row[random.choice(8, 2, replace=False)] = random.uniform(1, 2, 2)
    x = mixture @ truth
    others = truth[::-1] if same else np.linalg.qr(random.normal(size=(16, 16)))[0][:8]
    mine = room.artifact(folder / "sae", truth, x, rule)
    sibling = room.artifact(folder / "seed1", np.ascontiguousarray(others), x, rule)
    codes = room.autoencoder(truth, rule=rule).encode(torch.from_numpy(x).float()).dense().numpy()
    signed = rule == "core.abstopk"
    return room.material(folder, codes, activations=x, artifact=mine, siblings=[sibling], signed=signed)


def test_the_same_dictionary_in_another_order_is_found_again(room, answer, tmp_path):
    found, told, measures = answer(AgreementConfig(), agreement_room(room, tmp_path, True))
    assert told["Mean cosine of matched latents"].value == pytest.approx(1, abs=1e-5)
    assert told["Mean cosine of matched latents"].control < 0.7
    overlap = told["Overlap of the 16 strongest examples (Jaccard)"]
    assert (overlap.value, overlap.n) == (1.0, 8)
    assert overlap.control < 0.5
    assert np.allclose(measures["found again"], 1, atol=1e-5)
    assert not list(tmp_path.glob(".agreement-*"))
    assert next(iter(found.tables.values()))[0]["autoencoder"] == "seed1"


def test_another_dictionary_agrees_as_a_random_one_does(room, answer, tmp_path):
    _, told, _ = answer(AgreementConfig(), agreement_room(room, tmp_path, False))
    cosine = told["Mean cosine of matched latents"]
    assert abs(cosine.value - cosine.control) < 0.12


def test_poles_of_signed_codes_are_matched(room, answer, tmp_path):
    material = agreement_room(room, tmp_path, True, rule="core.abstopk")
    _, told, measures = answer(AgreementConfig(examples=4), material)
    assert told["Mean cosine of matched latents"].value == pytest.approx(1, abs=1e-5)
    assert len(measures["found again"]) == 16


def test_named_artifacts_are_compared_and_misfits_refused(room, answer, tmp_path):
    material = agreement_room(room, tmp_path, True)
    alone = room.material(tmp_path / "alone", np.ones((8, 8)), activations=np.ones((8, 16)), artifact=material.artifact)
    with pytest.raises(DatasetError, match="no other autoencoder to compare with") as caught:
        answer(AgreementConfig(), alone)
    assert "train.seeds: [0, 1]" in caught.value.remedy
    _, told, _ = answer(AgreementConfig(others=(tmp_path / "seed1",)), material)
    assert told["Mean cosine of matched latents"].n == 16
    narrow = room.artifact(tmp_path / "narrow", np.eye(4), np.random.default_rng(0).random((20, 4)))
    with pytest.raises(ArtifactError, match="encodes rows of width 4"):
        answer(AgreementConfig(others=(narrow,)), material)


def test_jaccard_leaves_out_latents_that_fire_in_too_few_examples(room, tmp_path):
    codes = np.zeros((8, 2))
    codes[:4, 0], codes[2, 1] = [1, 3, 2, 3], 5
    strong = room.material(tmp_path, codes, split=np.full(8, SELECT, np.uint8)).strengths
    tops = top_examples(strong, np.array([0, 1]), 3)
    assert tops.tolist() == [[1, 3, 2], [-1, -1, -1]]
    found = jaccard(tops, np.array([[1, 3, 5], [1, 2, 3]]))
    assert found[0] == pytest.approx(2 / 4)
    assert np.isnan(found[1])


class TestAgreement(StudyTests):
    @pytest.fixture
    def config(self):
        return AgreementConfig(examples=8)

    @pytest.fixture
    def material(self, room, tmp_path):
        return agreement_room(room, tmp_path, True)
