"""Splits: groups that a dataset says must stay whole are never divided."""

from collections.abc import Sequence

import numpy as np
import pytest

from omnisae.errors import ConfigError
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.split import assign


class Visits(Dataset):
    """Two examples a person; a site has several persons, a day one example of each."""

    def __init__(self, must: str | None, persons: int = 12) -> None:
        self.must, self.columns = must, {
            "person": [f"person {i // 2}" for i in range(2 * persons)],
            "site": [f"site {i // 8}" for i in range(2 * persons)],
            "day": [f"day {i % 2} of {i // 6}" for i in range(2 * persons)],
        }  # fmt: skip

    @property
    def ids(self) -> Sequence[str]:
        return [f"e{i}" for i in range(len(self.columns["person"]))]

    def load(self, row: int) -> Example:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return "visits"

    def groups(self, column: str) -> Sequence[str]:
        return self.columns[column]

    def must_split_by(self) -> str | None:
        return self.must


@pytest.mark.parametrize("by", ["person", "site"])
def test_what_must_stay_whole_does(by: str) -> None:
    sides = assign(Visits("person"), by=by)
    for person in set(Visits("person").columns["person"]):
        assert len(set(sides[np.array(Visits("person").columns["person"]) == person])) == 1


@pytest.mark.parametrize("by", ["example", "day"])
def test_a_split_that_divides_is_refused_without_names(by: str) -> None:
    with pytest.raises(ConfigError, match=rf"score.split.by: '{by}' .* 12 of 12 person groups") as caught:
        assign(Visits("person"), by=by)
    assert "split by 'person'" in caught.value.remedy
    assert "person 3" not in str(caught.value)


@pytest.mark.parametrize("by", ["example", "day", "person"])
def test_other_datasets_split_as_they_like(by: str) -> None:
    assert set(assign(Visits(None), by=by)) == {0, 1, 2}


def test_one_example_a_person_may_be_split_by_example() -> None:
    alone = Visits("person")
    alone.columns = {"person": [f"p{i}" for i in range(6)]}
    assert len(assign(alone)) == 6
