"""Contigs by hand, and the pattern of planted latents."""

import numpy as np
import pytest

from omnisae.studies.study import Material
from omnisae.testing import StudyTests
from omnisae_protein.patterns import KINDS, Contigs
from omnisae_protein.plugin import PatternsConfig


@pytest.fixture(scope="module")
def made(tmp_path_factory, make):
    """Latents: 0 a point, 1 runs of 6, 2 runs of 30, 3 runs of 60, 4 everything, 5 every seventh residue, 6 silent."""
    codes = np.zeros((42, 80, 7), dtype=np.float32)
    for i in range(42):
        at = 3 + i % 10
        codes[i, at, 0] = 1
        codes[i, at : at + 6, 1] = 1
        codes[i, at : at + 30, 2] = 1
        codes[i, at : at + 60, 3] = 1
        codes[i, :, 4] = 1
        codes[i, at % 7 :: 7, 5] = 1
    return make(tmp_path_factory.mktemp("codes"), codes.reshape(-1, 7), [80] * 42, [[]] * 42, concepts=())


def test_contigs_are_runs(made):
    runs = Contigs.of(made.postings, 0.1)
    mine = runs.latent == 1
    assert set(runs.length[mine]) == {6}
    assert mine.sum() == 20  # one in each test protein
    assert (runs.latent == 6).sum() == 0


class TestPatterns(StudyTests):
    @pytest.fixture
    def config(self):
        return PatternsConfig()

    @pytest.fixture
    def material(self, made, tmp_path):
        return Material(
            postings=made.postings, source=None, dataset=None, extractor=None, artifact=tmp_path, levels=(), table={},
            siblings=(), seed=0, folder=tmp_path,
        )  # fmt: skip

    def test_planted_patterns_are_named(self, findings):
        pattern, length, share = findings.measures
        assert pattern.values == ["point", "short motif", "medium motif", "long motif", "whole", "periodic", ""]
        assert length.values[1:4].tolist() == [6, 30, 60]
        assert share.values[4] == 1
        told = {one.name: (one.value, one.control) for one in findings.findings}
        assert [told[f"Latents: {kind}"][0] for kind in KINDS] == [1, 1, 1, 1, 1, 1]
        assert told["Latents: medium motif"][1] == 0, "shuffled residues make no runs of thirty"
