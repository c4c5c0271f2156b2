"""Fitness from few variants: found where it is linear in the vectors, and not where there is none."""

import numpy as np
import pytest

from omnisae.errors import DatasetError
from omnisae_protein.assays import read
from omnisae_protein.fitness import judged
from omnisae_protein.plugin import FitnessConfig
from omnisae_protein.steering import matched


def test_a_linear_fitness_is_learnt_from_few():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 12))
    y = x[:, 3] - 2 * x[:, 5] + 0.1 * random.normal(size=300)
    fit, judge = np.arange(24), np.arange(24, 300)
    assert judged(x, y, fit, judge) > 0.9
    assert abs(judged(x, random.normal(size=300), fit, judge)) < 0.25
    assert judged(np.ones((300, 2)), y, fit, judge) == 0.0


def test_assays_are_read_and_broken_rows_told(tmp_path, world):
    assert len(read("world:motifs?n=96&seed=0/assay.csv").sequences) == 1000
    path = tmp_path / "a.csv"
    path.write_text("mutant,mutated_sequence,DMS_score\nA1G,GKL,0.5\nA1C,CKL,high\n")
    with pytest.raises(DatasetError, match=r"a.csv, row 3: DMS_score is 'high'"):
        read(str(path))
    path.write_text("mutant,sequence,DMS_score\nA1G,GKL,0.5\n")
    with pytest.raises(DatasetError, match="has no column 'mutated_sequence'"):
        read(str(path))
    assert FitnessConfig(assay=str(path)).reads() == (path,)


def test_controls_fire_about_as_often():
    counts = np.array([5, 1000, 950, 1100, 0, 900, 3, 1050])
    found = matched(counts, 1, 2, np.random.default_rng(0))
    assert len(found) == 2
    assert set(found) <= {2, 3, 5, 7, 0, 6}
    assert 1 not in found
    assert 4 not in found
