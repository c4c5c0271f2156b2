"""Confounders: a latent that sees a marker is flagged, one that sees the finding is not."""

import numpy as np
import pytest
from scipy.stats import kstest

from omnisae.errors import DatasetError
from omnisae.extract.split import TEST
from omnisae.studies.columns import column
from omnisae.studies.configs import (
    ConfoundersConfig,
)
from omnisae.studies.confounders import stratified
from omnisae.testing import StudyTests


def confounders_room(room, folder, n=400):
    """A marker goes with the finding in four of five; latent 0 sees the marker, 1 the finding, 2 the size."""
    random = np.random.default_rng(8)
    finding = random.random(n) < 0.5
    marker = np.where(random.random(n) < 0.8, finding, ~finding)
    size = random.normal(size=n)
    codes = np.where(random.random((n, 6)) < 0.4, random.gamma(2, size=(n, 6)), 0.0)
    codes[:, 0] = marker * random.uniform(1, 2, n)
    codes[:, 1] = finding * random.uniform(1, 2, n)
    codes[:, 2] = np.exp(size)
    return room.material(
        folder,
        codes,
        labels={"marker": np.where(marker, "L", "none").tolist()},
        concepts={"mass": finding * 1.0, "false mass": finding * 1.0},
        features={"size": size},
        best={"mass": 1, "false mass": 0},
    )


def test_a_marker_is_flagged_and_what_is_clean_is_not(room, answer, tmp_path):
    material = confounders_room(room, tmp_path)
    found, _, measures = answer(ConfoundersConfig(columns=("marker", "size")), material)
    assert list(measures["follows"]) == ["marker", "", "size", "", "", ""]
    rows = {(row["concept"], row["confounder"]): row for row in found.tables[next(iter(found.tables))]}
    fake, clean = rows["false mass", "marker"], rows["mass", "marker"]
    assert fake["AUROC"] > 0.7
    assert abs(fake["within strata"] - 0.5) < 0.12
    assert fake["follows"] == "follows marker"
    assert (clean["within strata"], clean["follows"]) == (1.0, "")
    assert clean["association"] > 0.4  # it goes with the marker, since the finding does
    assert len(found.warnings) == 1
    assert "The best latent of false mass, 0, follows the confounder marker" in found.warnings[0]


def test_strata_are_quantiles_of_numbers():
    value, positive = np.arange(8.0), np.array([0, 1, 0, 1, 0, 1, 0, 1], dtype=bool)
    assert stratified(value, positive, np.zeros(8, dtype=int))[0] == pytest.approx(10 / 16)
    assert stratified(value, positive, np.repeat([0, 1], 4)) == (0.75, 8)
    assert np.isnan(stratified(value[::2], positive[::2], np.zeros(4, dtype=int))[0])


def test_p_values_of_confounders_are_uniform_under_the_null(room, tmp_path):
    p = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        codes = random.gamma(2, size=(60, 2))
        labels = {"site": random.choice(["a", "b", "c"], 60).tolist()}
        material = room.material(tmp_path / str(seed), codes, labels=labels, seed=seed)
        study = ConfoundersConfig(columns=("site",), permutations=99).build()
        p.append(float(study._associate(material, column(material, "site"), material.rows(TEST), np.zeros(2)).p[0]))
    assert kstest(p, "uniform").pvalue > 0.01


def test_a_confounder_that_does_not_differ_is_refused(room, answer, tmp_path):
    material = room.material(tmp_path, np.ones((20, 2)), labels={"site": ["a"] * 20})
    with pytest.raises(DatasetError, match="'site' does not differ on 10 test examples"):
        answer(ConfoundersConfig(columns=("site",)), material)


class TestConfounders(StudyTests):
    @pytest.fixture
    def config(self):
        return ConfoundersConfig(columns=("marker", "size"), permutations=49)

    @pytest.fixture
    def material(self, room, tmp_path):
        return confounders_room(room, tmp_path)
