"""Chance by whole groups."""

import numpy as np
import pytest

from omnisae.studies.resample import generator, interval, members, p_value, permutations, weights


@pytest.fixture
def grouped(room, tmp_path):
    return room.material(tmp_path, np.ones((8, 1)), groups=np.array([3, 3, 1, 1, 1, 3, 2, 2]))


def test_groups_stay_together_when_permuted(grouped):
    rows = np.arange(8)
    assert [part.tolist() for part in members(grouped, rows)] == [[0, 1, 5], [2, 3, 4], [6, 7]]
    place = np.concatenate(members(grouped, rows))
    seen = set()
    for shuffle in permutations(grouped, rows, 40, np.random.default_rng(0)):
        assert sorted(shuffle) == list(range(8))
        laid = np.asarray(grouped.groups)[shuffle[place]]
        assert (laid[1:] != laid[:-1]).sum() == 2
        seen.add(tuple(laid))
    assert len(seen) == 6


def test_groups_are_drawn_whole(grouped):
    drawn = weights(grouped, np.arange(8), 50, np.random.default_rng(0))
    for part in members(grouped, np.arange(8)):
        assert (drawn[:, part] == drawn[:, part[:1]]).all()
    assert (drawn[:, [0, 2, 6]].sum(axis=1) == 3).all()


def test_without_groups_every_example_is_its_own(room, tmp_path):
    material = room.material(tmp_path, np.ones((6, 1)))
    orders = list(permutations(material, np.arange(6), 30, generator(material, "x")))
    again = list(permutations(material, np.arange(6), 30, generator(material, "x")))
    assert np.array_equal(orders, again)
    assert len({tuple(order) for order in orders}) > 25
    assert len(members(material, np.arange(6))) == 6


def test_intervals_cover_the_mean_as_often_as_they_say():
    random = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        low, high = interval(random.normal(1, 1, 40), random, times=300)
        covered.append(low <= 1 <= high)
    assert 0.88 <= np.mean(covered) <= 0.99
    assert np.isnan(interval(np.array([1.0, np.nan]), random)).all()


def test_p_is_never_zero():
    assert p_value(2.0, np.zeros(19)) == 0.05
    assert p_value(0.0, np.zeros(19)) == 1.0
