"""Columns by name, and binary concepts of examples and of regions."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from omnisae.concepts.annotations import Interval, Region
from omnisae.concepts.level import levels
from omnisae.config import ScoreConfig
from omnisae.errors import DatasetError
from omnisae.extract.dataset import FeatureTable
from omnisae.studies.columns import choose, classes, column, concepts

WORLDS = Path(__file__).parents[1] / "concepts" / "conftest.py"


@pytest.fixture
def known(room, tmp_path):
    return room.material(
        tmp_path,
        np.ones((14, 2)),
        labels={
            "site": ["b", "a", "", *["a"] * 11],
            "age": [str(20 + i) for i in range(13)] + [""],
            "n": ["1", "2"] * 7,
        },
        concepts={"mass": np.array([0, 1, np.nan] + [0] * 11), "share": np.linspace(0, 1, 14)},
        features={"size": np.arange(14.0), "mass": np.zeros(14)},
    )


def test_text_makes_classes_and_many_numbers_make_numbers(known):
    site, age = column(known, "site"), column(known, "age")
    assert site.classes == ("a", "b")
    assert site.is_("b").tolist() == [True] + [False] * 13
    assert site.known.tolist() == [True, True, False] + [True] * 11
    assert age.classes == ()
    assert age.values[:3].tolist() == [20, 21, 22]
    assert np.isnan(age.values[13])
    assert column(known, "n").classes == ("1", "2")


def test_concepts_are_columns_before_features_are(known):
    mass = column(known, "mass")
    assert mass.classes == ("no", "yes")
    assert mass.is_("yes").tolist() == [False, True] + [False] * 12
    assert np.isnan(mass.values[2])
    assert column(known, "share").classes == ()
    assert column(known, "size").values.tolist() == list(range(14))


def test_sparse_features_are_read(known, monkeypatch):
    table = FeatureTable(["x", "y"], csr_array(np.arange(28.0).reshape(14, 2)))
    monkeypatch.setattr(known.dataset, "features", lambda: table)
    assert column(known, "y").values[:3].tolist() == [1, 3, 5]


def test_what_is_not_there_is_said_with_what_is(known):
    with pytest.raises(DatasetError, match="no column, concept or feature 'sizes'") as caught:
        column(known, "sizes")
    assert caught.value.remedy == "did you mean 'size' or 'site'?"
    with pytest.raises(DatasetError, match="'share' holds numbers; classes are needed"):
        classes(known, "share")
    with pytest.raises(DatasetError, match="the column 'site' has no 'c'"):
        choose(column(known, "site"), "c", "the outlier")
    with pytest.raises(DatasetError, match="the outlier is not named"):
        choose(column(known, "site"), None, "the outlier")


def test_regions_are_concepts_of_the_examples_that_have_one(room, tmp_path):
    spec = importlib.util.spec_from_file_location("concept_worlds", WORLDS)
    worlds = sys.modules.setdefault("concept_worlds", importlib.util.module_from_spec(spec))
    if not hasattr(worlds, "World"):
        spec.loader.exec_module(worlds)
    n = 40
    example, coords = worlds.ragged([3] * n)
    has, annotated = np.arange(n) % 3 == 0, np.arange(n) != 7

    def regions(row):
        return None if not annotated[row] else [Region("thing", 0, Interval("position", 1, 2))] if has[row] else []

    split = np.where(np.arange(n) % 2 == 0, 1, 2).astype(np.uint8)
    world = worlds.World(
        np.ones((3 * n, 2), np.float32), example, coords, split, worlds.line_hook(), {}, regions, ["thing"]
    )
    postings = world.postings(tmp_path / "codes")
    made = room.material(tmp_path / "room", np.ones((n, 2)))
    found, _, _ = levels(postings, world.dataset(), world.extractor(), ScoreConfig())
    material = replace(made, postings=postings, dataset=world.dataset(), levels=found)
    told = dict(concepts(material))
    assert list(told) == ["thing"]
    assert np.isnan(told["thing"][7])
    assert np.array_equal(told["thing"][annotated], has[annotated] * 1.0)
    with pytest.raises(DatasetError, match="no binary concept is called 'things'"):
        list(concepts(material, ["things"]))


def test_concepts_with_too_few_examples_are_left_out(known):
    assert list(concepts(known)) == []
