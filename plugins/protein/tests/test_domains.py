"""Domain F1 against the published formula, one pair at a time; and what the study tells of planted latents."""

import numpy as np
import pytest

from omnisae.concepts.annotations import Interval, Region
from omnisae.concepts.gather import gather
from omnisae.errors import DatasetError
from omnisae.studies.study import Material
from omnisae.testing import StudyTests
from omnisae_protein.domain_f1 import domain_f1, instances
from omnisae_protein.plugin import DomainsConfig, ProbesConfig

THRESHOLDS = np.array([0.0, 0.15, 0.5, 0.8])


@pytest.fixture(scope="module")
def made(tmp_path_factory, make):
    random = np.random.default_rng(0)
    lengths = [int(n) for n in random.integers(12, 40, 26)]
    codes = random.random((sum(lengths), 7)).astype(np.float32) * (random.random((sum(lengths), 7)) < 0.2)
    regions = []
    for n in lengths:
        mine = []
        for number in range(3):
            start = int(random.integers(0, n - 4))
            mine.append(Region("Helix", number, Interval("residue", start, start + 4)))
            mine.append(Region("Active site: x", number, Interval("residue", start + 1, start + 2)))
        regions.append(mine)
    hidden = [Region("Helix", 0, Interval("residue", 0, 3))]
    return make(tmp_path_factory.mktemp("codes"), codes, lengths, regions, lambda row: hidden)


def slowly(values, ceiling, side, concept, threshold, by_residue):
    """InterPLM's formula, from its words (calculate_f1.py: precision of residues, recall of domains)."""
    above = values / ceiling > threshold
    pairs = side.concept == concept
    positions = np.repeat(np.arange(len(side)), np.diff(side.offsets))[pairs]
    truth = np.zeros(len(side), dtype=bool)
    truth[positions] = True
    hidden = np.repeat(np.arange(len(side)), np.diff(side.unknown_offsets))[side.unknown_concept == concept]
    above[hidden] = False
    hit = above & truth
    if not hit.any():
        return 0.0
    precision = hit.sum() / above.sum()
    touched = {i for i, at in zip(side.instance[pairs], positions, strict=True) if above[at]}
    recall = hit.sum() / truth.sum() if by_residue else len(touched) / len(set(side.instance[pairs].tolist()))
    return 2 * precision * recall / (precision + recall)


def test_it_is_the_published_formula(made):
    by_residue = np.array([False, True])
    for side in (made.level.select, made.level.test):
        sparse = gather(made.postings, side, np.arange(7))
        ceilings = np.asarray(made.postings.maxima_select)
        found = domain_f1(sparse, ceilings, side, instances(side), THRESHOLDS, by_residue)
        for latent in range(7):
            dense = np.zeros(len(side))
            part = slice(int(sparse.starts[latent]), int(sparse.stops[latent]))
            dense[sparse.position[part]] = sparse.value[part]
            for concept in range(2):
                for t, threshold in enumerate(THRESHOLDS):
                    told = slowly(dense.copy(), ceilings[latent], side, concept, threshold, by_residue[concept])
                    assert found[latent, concept, t] == pytest.approx(told, abs=1e-6)


def test_scale_changes_nothing(made):
    side = made.level.select
    sparse = gather(made.postings, side, np.arange(7))
    ceilings = np.asarray(made.postings.maxima_select)
    held, by = instances(side), np.array([False, True])
    one = domain_f1(sparse, ceilings, side, held, THRESHOLDS, by)
    sparse.value[:] *= 8
    np.testing.assert_array_equal(one, domain_f1(sparse, ceilings * 8, side, held, THRESHOLDS, by))


@pytest.fixture(scope="module")
def planted(tmp_path_factory, make):
    """Latent 0 fires at one residue of every helix and nowhere else; latent 1 in whole helices and as often elsewhere;
    latent 2 at active sites. Activations: neuron 2 is the active site."""
    lengths = [20] * 42
    codes = np.zeros((42, 20, 4), dtype=np.float32)
    regions = []
    for i in range(42):
        at = 2 + i % 9
        codes[i, at + 2, 0] = 1.0
        codes[i, at : at + 8, 1] = 0.7
        codes[i, 12:18, 1] = 0.7
        codes[i, at + 3, 2] = 2.0
        spans = (("Helix", at, at + 6), ("Active site: x", at + 3, at + 4))
        regions.append([Region(name, n, Interval("residue", *span)) for n, (name, *span) in enumerate(spans)])
    return make(tmp_path_factory.mktemp("planted"), codes.reshape(-1, 4), lengths, regions)


class PlainSource:
    def __init__(self, made):
        self.made = made

    def sequential(self, keep, examples=None, batch=4096):
        import torch

        kept = np.flatnonzero(examples[self.made.example])
        for start in range(0, len(kept), 100):
            part = kept[start : start + 100]
            values = np.zeros((len(part), 3), dtype=np.float32)
            values[:, 2] = 3 + self.made.codes[part, 2]
            yield PlainBatch(torch.from_numpy(values))


class PlainBatch:
    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)


class TestDomains(StudyTests):
    @pytest.fixture
    def config(self):
        return DomainsConfig(instances=3)

    @pytest.fixture
    def material(self, planted, tmp_path):
        return Material(
            postings=planted.postings, source=PlainSource(planted), dataset=None, extractor=None, artifact=tmp_path,
            levels=[planted.level], table={}, siblings=(), seed=0, folder=tmp_path,
        )  # fmt: skip

    def test_a_latent_that_touches_every_helix_finds_it(self, findings):
        (rows,) = findings.tables.values()
        by = {row["concept"]: row for row in rows}
        assert (by["Helix"]["latent"], by["Helix"]["F1"]) == (0, 1.0)
        assert (by["Active site: x"]["latent"], by["Active site: x"]["F1"]) == (2, 1.0)
        # The neuron fires at each active site: inside every helix, too.
        assert (by["Active site: x"]["neuron's F1"], by["Helix"]["neuron's F1"]) == (1.0, 1.0)
        told = {one.name: one.value for one in findings.findings}
        assert told["Concepts found (F1 > 0.5)"] == 2
        assert findings.measures[1].values[3] == "", "a silent latent has no concept"

    def test_too_few_instances_are_refused(self, material):
        with pytest.raises(DatasetError, match="no concept of residues has enough instances"):
            DomainsConfig(instances=300).build().study(material)


class TestProbes(StudyTests):
    @pytest.fixture
    def config(self):
        return ProbesConfig(k=(1, 2))

    @pytest.fixture
    def material(self, planted, tmp_path):
        return Material(
            postings=planted.postings, source=PlainSource(planted), dataset=None, extractor=None, artifact=tmp_path,
            levels=[planted.level], table={}, siblings=(), seed=0, folder=tmp_path,
        )  # fmt: skip

    def test_a_latent_that_is_the_concept_tells_every_residue(self, findings):
        (rows,) = findings.tables.values()
        by = {row["concept"]: row for row in rows}
        site = by["Active site: x"]
        assert (site["best latent"], site["1 latents"], site["1 neurons"]) == ("2", 1.0, 1.0)
        assert site["residues on test"] == 40, "twenty sites and as many others"
        # Latent 1 fires in each helix and, as often, elsewhere: it tells much, and not all.
        assert 0.6 < by["Helix"]["1 latents"] < 1
        assert by["Helix"]["best latent"] == "1"
