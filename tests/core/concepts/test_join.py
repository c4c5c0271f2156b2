"""Labels are joined by id, and what is left over is counted."""

import pytest

from omnisae.concepts.join import join_ids
from omnisae.errors import DatasetError


def test_what_is_left_over_is_counted_both_ways() -> None:
    join = join_ids(["a", "b", "c"], ["c", "x", "a", "y"], "labels.csv")
    assert join.index.tolist() == [2, -1, 0]
    assert (join.unlabelled, join.orphans) == (1, 2)
    assert join.note == "labels.csv: 1 examples have no label, 2 labels have no example"


def test_nothing_joins() -> None:
    with pytest.raises(DatasetError) as error:
        join_ids(["a.png", "b.png"], ["a", "b", "c"], "labels.csv")
    assert "labels.csv: no label joins an example: 3 labels and 2 examples are unmatched" in error.value.problem
    assert "'a'" in error.value.problem
    assert "'a.png'" in error.value.problem


def test_two_labels_for_one_id() -> None:
    with pytest.raises(DatasetError, match="'a' among them"):
        join_ids(["a", "b"], ["a", "a", "b"], "labels.csv")


def test_all_join_in_silence() -> None:
    assert join_ids(["a", "b"], ["b", "a"], "labels.csv").note == ""
