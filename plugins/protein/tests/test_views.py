"""Drawings: the residues and their annotations, the logo of a planted motif, a trace that is turned flat."""

import numpy as np
import pytest

from omnisae.errors import UnreadableExample
from omnisae.hooks.point import HookPoint
from omnisae.report.visualizer import Firing, LatentView
from omnisae.testing import VisualizerTests
from omnisae_protein.logo import LETTERS, information
from omnisae_protein.plugin import LogoConfig, ProteinsConfig, ResiduesConfig, StructureConfig
from omnisae_protein.structure_view import projected
from omnisae_protein.structures import find, trace

HOOK = HookPoint(name="layer", at=("layers.1",), pattern="([bos] + residue + [eos]) example d", width=128)


@pytest.fixture(scope="module")
def proteins(world):
    return ProteinsConfig(
        root=str(world), sequences="proteins.fasta", annotations=["uniprot.tsv"], structures="structures", least=2
    ).build()


def firing(proteins, row):
    """Fires on cysteines."""
    at = np.array([i for i, letter in enumerate(proteins.sequence(row)) if letter == "C"] or [0])
    return Firing(row, at[:, None], np.linspace(1, 3, len(at)), {"residue": len(proteins.sequence(row))})


@pytest.fixture(scope="module")
def a_view(proteins):
    return LatentView(
        3, HOOK, 3.0, np.array([float("C" in proteins.sequence(row)) for row in range(len(proteins))]), proteins, None,
        firing_in=lambda row: firing(proteins, row),
    )  # fmt: skip


class Drawn(VisualizerTests):
    @pytest.fixture
    def view(self, a_view):
        return a_view

    @pytest.fixture
    def firing(self, proteins):
        return firing(proteins, 0)


class TestResidues(Drawn):
    @pytest.fixture
    def config(self):
        return ResiduesConfig()

    def test_annotations_stand_beneath(self, visualizer, view, firing):
        (figure,) = visualizer.draw_example(view, firing)
        text = figure.data.decode()
        assert "Zinc finger: C2H2-type 34–55" in text
        assert text.count('class="level"') == len(firing.values)
        assert "strongest at C" in figure.caption


class TestLogo(Drawn):
    @pytest.fixture
    def config(self):
        return LogoConfig(around=4)

    def test_the_middle_is_what_it_fires_on(self, visualizer, view):
        (figure,) = visualizer.draw_latent(view)
        assert ">C</text>" in figure.data.decode()
        assert "bits in all" in figure.caption


class TestStructure(Drawn):
    @pytest.fixture
    def config(self):
        pytest.importorskip("biotite", reason="biotite is not installed")
        return StructureConfig()

    def test_a_protein_without_a_structure_is_left_out(self, visualizer, view, proteins):
        row = next(row for row in range(len(proteins)) if proteins.structure(row) is None)
        assert visualizer.draw_example(view, firing(proteins, row)) == ()


def test_information_is_relative_entropy():
    common = np.full(20, 1 / 20)
    bits, shares = information(["ACD"] * 99, [1] * 99, 1, common)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[1, LETTERS.index("C")] == pytest.approx((99 + 0.05) / 100)
    expected = sum(p * np.log2(p * 20) for p in shares[1])
    assert bits[1] == pytest.approx(expected)
    flat, _ = information(["A", "C", "D"], [0, 0, 0], 0, common)
    assert bits[1] > 4 > flat[0] > 0


def test_the_trace_lies_on_its_broad_side():
    at = np.random.default_rng(0).normal(size=(50, 3)) * [1, 9, 4]
    flat = projected(at)
    assert flat[:, 0].std() > flat[:, 1].std() > flat[:, 2].std()
    np.testing.assert_allclose(np.linalg.norm(flat, axis=1), np.linalg.norm(at - at.mean(axis=0), axis=1))


def test_structures_are_read_and_told_by_name(proteins, tmp_path):
    pytest.importorskip("biotite", reason="biotite is not installed")
    path = proteins.structure(0)
    at = trace(path, len(proteins.sequence(0)))
    assert np.isfinite(at).all()
    np.testing.assert_allclose(np.linalg.norm(np.diff(at, axis=0), axis=1)[3:], 3.8, atol=0.01)
    with pytest.raises(UnreadableExample, match="has a residue .* and the sequence 5"):
        trace(path, 5)
    (tmp_path / "AF-P1-F1-model_v4.cif").write_text("nothing")
    assert find(tmp_path, "P1").name == "AF-P1-F1-model_v4.cif"
    assert find(tmp_path, "../P1") is None
    with pytest.raises(UnreadableExample, match=r"AF-P1-F1-model_v4.cif cannot be read"):
        trace(find(tmp_path, "P1"), 5)
