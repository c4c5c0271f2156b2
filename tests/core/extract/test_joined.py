"""Datasets joined into one: what each part knows is kept, what it does not know is unknown."""

import json

import numpy as np
import pytest

from omnisae.concepts.annotations import Annotations, Mask, Region
from omnisae.errors import ConfigError, DatasetError, UnreadableExample
from omnisae.extract.configs import JoinedConfig
from omnisae.extract.dataset import Dataset, Example, FeatureTable
from omnisae.extract.joined import Joined
from omnisae.testing import DatasetTests


class Part(Dataset):
    """A few examples with whatever is known of them."""

    def __init__(
        self,
        n,
        *,
        concepts=None,
        words=None,
        groups=None,
        whole=None,
        features=None,
        regions=None,
        unknown=None,
        note="",
    ):
        self._ids = [str(row) for row in range(n)]
        self._concepts, self._words, self._groups = concepts or {}, words or {}, groups or {}
        self._whole, self._features, self._regions, self._note = whole, features, regions, note
        self._unknown = unknown

    @property
    def ids(self):
        return self._ids

    def load(self, row):
        if self._note and row == 0:
            raise UnreadableExample("0.png is cut short", "copy it again")
        return Example(row, self._ids[row], 10 * len(self) + row)

    def fingerprint(self):
        return f"{len(self)}"

    def annotations(self):
        regions, named = self._regions or (None, ())
        labels = {k: np.array(v, float) for k, v in self._concepts.items()}
        return Annotations(self._ids, labels, regions, named, self._unknown)

    def labels(self):
        return self._words

    def groups(self, column):
        return self._groups[column] if column in self._groups else super().groups(column)

    def group_columns(self):
        return list(self._groups)

    def must_split_by(self):
        return self._whole

    def features(self):
        return self._features

    def notes(self):
        return [self._note] if self._note else []


@pytest.fixture
def both():
    mask = Mask(np.ones((2, 2), bool))
    drawn = (lambda row: [Region("cat", 1, mask), Region("dog", 2, mask)] if row else None, ("cat", "dog"))
    a = Part(2, concepts={"red": [0, 1], "old": [1, 0]}, words={"kind": ["x", "y"]}, groups={"patient": ["p", "q"]})
    b = Part(
        3, concepts={"red": [1, 0.5, np.nan]}, groups={"patient": ["q", "r", "r"], "site": ["1", "1", "2"]},
        whole="patient", regions=drawn, note="one is odd",
    )  # fmt: skip
    return Joined("corpus", {"a": a, "b": b})


def test_examples_stand_one_part_after_the_other(both):
    assert both.ids == ["a/0", "a/1", "b/0", "b/1", "b/2"]
    assert [both.load(row).input for row in (0, 1, 3, 4)] == [20, 21, 31, 32]
    assert both.load(4) == Example(4, "b/2", 32)
    with pytest.raises(UnreadableExample, match=r"b/0: 0\.png is cut short"):
        both.load(2)


def test_what_one_part_knows_is_unknown_in_the_other(both):
    known = both.annotations()
    assert list(known.ids) == list(both.ids)
    np.testing.assert_array_equal(known.labels["red"], [0, 1, 1, 0.5, np.nan])
    np.testing.assert_array_equal(known.labels["old"], [1, 0, np.nan, np.nan, np.nan])
    assert both.labels() == {"corpus": ["a", "a", "b", "b", "b"], "kind": ["x", "y", "", "", ""]}


def test_regions_of_a_part_are_told_at_its_rows(both):
    known = both.annotations()
    assert [known.regions(row) is None for row in range(5)] == [True, True, True, False, False]
    assert [region.concept for region in known.regions(4)] == ["cat", "dog"]
    assert list(known.region_concepts) == ["cat", "dog"]


def test_regions_that_one_of_two_parts_cannot_have_count_in_none():
    mask = Mask(np.ones((2, 2), bool))
    one = Part(1, regions=(lambda row: [Region("cat", 1, mask), Region("dog", 2, mask)], ("cat", "dog")))
    other = Part(1, regions=(lambda row: [Region("cat", 1, mask)], ("cat",)))
    found = Joined("corpus", {"one": one, "other": other})
    assert list(found.annotations().region_concepts) == ["cat"]
    assert [region.concept for region in found.annotations().regions(0)] == ["cat"]
    assert found.notes() == ["Regions of dog are known in some parts only, and count in none."]


def test_places_of_which_a_part_does_not_know_stay_so():
    mask = Mask(np.ones((2, 2), bool))
    doubt = Part(1, regions=(lambda row: [], ("cat",)), unknown=lambda row: [Region("cat", 1, mask)])
    found = Joined("corpus", {"sure": Part(2, regions=(lambda row: [], ("cat",))), "doubt": doubt}).annotations()
    assert [[region.concept for region in found.unknown(row)] for row in range(3)] == [[], [], ["cat"]]
    assert Joined("corpus", {"a": Part(1), "b": Part(1)}).annotations().unknown is None


def test_groups_of_one_name_are_one_and_unknown_ones_are_each_their_own(both):
    assert both.group_columns() == ["corpus", "patient", "site"]
    assert both.groups("patient") == ["p", "q", "q", "r", "r"]
    assert both.groups("site") == ["a/0", "a/1", "1", "1", "2"]
    assert both.groups("corpus") == ["a", "a", "b", "b", "b"]
    assert both.must_split_by() == "patient"
    assert both.notes() == ["b: one is odd"]


def test_measurements_are_stacked_where_all_parts_have_the_same():
    def part(*names):
        return Part(2, features=FeatureTable(names, np.arange(2.0 * len(names)).reshape(2, -1)))

    both = Joined("corpus", {"one": part("x", "y"), "two": part("x", "y")}).features()
    assert both.values.shape == (4, 2)
    assert Joined("corpus", {"one": part("x", "y"), "two": part("x")}).features() is None
    assert Joined("corpus", {"one": part("x"), "two": Part(1)}).features() is None


def test_the_fingerprint_follows_every_part_and_its_name():
    def found(**parts):
        return Joined("corpus", parts).fingerprint()

    seen = {found(a=Part(1), b=Part(2)), found(a=Part(1), b=Part(3)), found(a=Part(1), c=Part(2))}
    assert len(seen) == 3
    assert Joined("origin", {"a": Part(1), "b": Part(2)}).fingerprint() not in seen


def test_what_does_not_go_together_is_refused():
    with pytest.raises(DatasetError) as error:
        Joined("kind", {"a": Part(1, words={"kind": ["x"]}), "b": Part(1)})
    assert error.value.problem == "dataset.parts.a has a column 'kind' of its own"
    assert "dataset.column" in error.value.remedy
    with pytest.raises(DatasetError, match="may not be split within groups of 'patient' and of 'user'"):
        Joined("corpus", {"a": Part(1, whole="user"), "b": Part(1, whole="patient")})


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"a": {"type": "core.table", "path": "a.npy"}}, "at least 2 items"),
        ({key: {"type": "core.table", "path": "a.npy"} for key in ("a/b", "c")}, "a part is called 'a/b'"),
        ({key: {"type": "core.tabel", "path": "a.npy"} for key in ("a", "b")}, "core.tabel"),
    ],
)
def test_a_config_that_names_no_parts_is_refused(parts, said):
    with pytest.raises((ValueError, ConfigError), match=said):
        JoinedConfig(parts=parts)


class TestJoined(DatasetTests):
    @pytest.fixture
    def config(self, tmp_path):
        for name, n in (("a", 3), ("b", 2)):
            np.save(tmp_path / f"{name}.npy", np.arange(n * 4.0).reshape(n, 4))
        parts = {name: {"type": "core.table", "path": str(tmp_path / f"{name}.npy")} for name in "ab"}
        return JoinedConfig.model_validate(json.loads(JoinedConfig(parts=parts).model_dump_json()))
