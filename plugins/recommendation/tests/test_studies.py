"""Studies of recommenders: published formulas, planted truth, planted nulls, and what they refuse."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import kstest

from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.testing import StudyTests
from omnisae_recommendation.plugin_datasets import AtomicConfig
from omnisae_recommendation.plugin_models import SasrecConfig
from omnisae_recommendation.plugin_studies import MatchingConfig, PhrasesConfig, RankingConfig, SteeringConfig
from omnisae_recommendation.studies.held import Held, held, matched, popularity, popularity_bins
from omnisae_recommendation.studies.lists import exposure, gains, hits, recommend, share
from omnisae_recommendation.studies.matching import Matching, _scales, deal
from omnisae_recommendation.studies.steering import bare


class _Study(StudyTests):
    @pytest.fixture
    def material(self, tiny):
        return tiny


class TestMatching(_Study):
    @pytest.fixture
    def config(self):
        return MatchingConfig(least=5, permutations=19)


class TestRanking(_Study):
    @pytest.fixture
    def config(self):
        return RankingConfig(k=(5, 10))


class TestSteering(_Study):
    @pytest.fixture
    def config(self):
        return SteeringConfig(most=2, controls=3, users=16)


class TestPhrases(_Study):
    @pytest.fixture
    def config(self):
        return PhrasesConfig(least=3, draws=2)


def planted(seed, signal=None, users=60, length=10, items=120, lists=6):
    """Events of made-up users, with codes that are noise, but that list 2 fires at the items of the set `signal`."""
    random = np.random.default_rng(seed)
    p = 1 / np.arange(1, items + 1)
    item = random.choice(items, users * length, p=p / p.sum()) + 1
    side = np.repeat(np.where(np.arange(users) % 2, SELECT, TEST), length)
    dense = random.random((len(item), lists)) * (random.random((len(item), lists)) < 0.3)
    if signal is not None:
        dense[:, 2] = signal[item - 1] * (0.5 + random.random(len(item)) / 2)
    count = np.bincount(item - 1, minlength=items)
    order = np.argsort(count, kind="stable")
    bins = np.empty(items, dtype=np.int64)
    bins[order] = np.minimum(np.cumsum(count[order]) * 4 // max(count.sum(), 1), 3)
    return Held(None, np.arange(len(item)), item, side, csr_array(dense), bins), random


def test_a_planted_latent_is_found_with_its_precision_and_recall():
    random = np.random.default_rng(1)
    has = random.random(120) < 0.3
    events, random = planted(0, has)
    found = Matching(5, 1000, 19).match(events, has, _scales(events), random)
    assert (found.list, found.precision, found.recall, found.f1) == (2, 1.0, 1.0, 1.0)


def test_p_of_concepts_that_mean_nothing_are_uniform():
    study, p = Matching(5, 1000, 19), []
    for seed in range(60):
        events, random = planted(seed)
        has = random.random(120) < 0.3
        own = study.match(events, has, scales := _scales(events), random).f1
        null = [study.match(events, deal(has, events.bin, random), scales, random).f1 for _ in range(19)]
        p.append((np.sum(np.array(null) > own) + random.random() * (1 + np.sum(np.array(null) == own))) / 20)
    assert kstest(p, "uniform").pvalue > 0.01


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_negatives_are_as_many_and_as_popular_as_positives(seed, kinds):
    random = np.random.default_rng(seed)
    positive, bins = random.random(80) < 0.3, random.integers(0, kinds, 80)
    rows, labels = matched(positive, bins, 15, random)
    assert (positive[rows] == labels).all()
    assert len(set(rows.tolist())) == len(rows)
    assert labels.sum() == (~labels).sum() <= 15
    for kind in range(kinds):
        assert (bins[rows[labels]] == kind).sum() == (bins[rows[~labels]] == kind).sum()
    dealt = deal(positive, bins, random)
    for kind in range(kinds):
        assert dealt[bins == kind].sum() == positive[bins == kind].sum()


def test_events_are_those_of_the_histories(tiny):
    events = held(tiny, "this")
    rows = np.asarray(tiny.postings.example)[events.token]
    for row in np.unique(rows)[:10]:
        assert events.item[rows == row].tolist() == tiny.dataset.history(int(row)).tolist()
    bins, count = popularity_bins(tiny.dataset), popularity(tiny.dataset)
    assert count.sum() == tiny.dataset.histories.learn.sum()
    assert all(count[bins == b].max() <= count[bins == b + 1].min() for b in range(bins.max()))


def test_hits_gains_shares_and_exposure_are_the_published_formulas():
    rank = np.array([0, 1, 9, 10, -1])
    np.testing.assert_allclose(hits(rank, 10), [1, 1, 1, 0, np.nan])
    np.testing.assert_allclose(gains(rank, 10), [1, 1 / math.log2(3), 1 / math.log2(11), 0, np.nan])
    has, top = np.array([True, False, True]), np.array([[1, 2], [2, 3], [3, 1]])
    np.testing.assert_allclose(share(top, has), [0.5, 0.5, 1])
    second = (1 / math.log2(3)) / (1 + 1 / math.log2(3))
    np.testing.assert_allclose(exposure(top, has), [1 - second, second, 1])


def test_ranks_are_those_of_a_slow_sort_and_leave_out_the_history(world):
    data = AtomicConfig(root=str(world), history=12).build()
    found = SasrecConfig(width=8, random=True, batch_size=7).build(data)
    from contextlib import nullcontext

    (lists,) = recommend(found, list(range(20)), [nullcontext], 5, seen=False)
    for row in range(20):
        scores = found.scores(found.collate([found.prepare(data.load(row))]))[0]
        seen = set(data.history(row).tolist())
        order = [i for i in (torch.argsort(-scores) + 1).tolist() if i not in seen]
        assert lists.top[row].tolist() == order[:5]
        assert lists.rank[row] == order.index(data.histories.target(row))


def test_equal_scores_put_the_target_in_the_middle(world):
    data = AtomicConfig(root=str(world), history=12).build()
    found = SasrecConfig(width=8, random=True).build(data)
    found.model.item_emb.weight.data.zero_()
    from contextlib import nullcontext

    (lists,) = recommend(found, [0, 1], [nullcontext], 5, seen=True)
    assert lists.rank.tolist() == [(len(data.histories.rows) - 1) // 2] * 2


def test_splicing_an_untouched_model_says_what_it_costs(tiny):
    told = RankingConfig(k=(10,)).build().study(tiny)
    found = {one.name: one for one in told.findings}
    hr = found["HR@10, spliced"]
    assert hr.low <= hr.value <= hr.high
    assert hr.n == told.tables["Before and after"][0]["test users"] > 5
    assert 0 <= found["Items in common among the 10 best"].value <= 1


def test_a_concepts_latent_brings_more_of_it_switched_on_than_off(tiny):
    told = SteeringConfig(concepts=("genre=western",), controls=3, users=16, amount=4).build().study(tiny)
    on = {row["switched"]: row for row in told.tables["Concepts"]}
    assert on["on"]["shift of share"] >= on["off"]["shift of share"]
    assert 0 < on["on"]["p"] <= 1
    assert all(figure.data.count(b"<tr>") == 11 for figure in told.figures)


def test_p_of_latents_that_stand_for_nothing_are_uniform_among_those_that_fire_as_often():
    random, study, p = np.random.default_rng(0), SteeringConfig(controls=9).build(), []
    for _ in range(200):
        counts = random.integers(1, 500, 80)
        shift = random.normal(size=80) * np.log(counts)  # what fires more often shifts more
        own = int(random.integers(80))
        sets = study._matched(SimpleNamespace(seed=int(random.integers(2**31))), [own], counts, "c")
        others = np.array([shift[one[0]] for one in sets])
        assert len(others) == 9
        p.append(((others > shift[own]).sum() + random.random()) / 10)
    assert kstest(p, "uniform").pvalue > 0.01


def test_concepts_of_histories_stand_for_those_of_items():
    assert bare("share:genre=war") == "genre=war"
    assert bare("genre=a:b") == "genre=a:b"


def test_what_cannot_be_asked_is_refused(tiny, material_of):
    with pytest.raises(DatasetError, match="no concept of items that was scored is called 'genre=wetsern'"):
        SteeringConfig(concepts=("genre=wetsern",)).build().study(tiny)
    with pytest.raises(DatasetError, match="no concept of items has 5000 events"):
        MatchingConfig(least=5000).build().study(tiny)
    with pytest.raises(DatasetError, match="no latent fires at 5000 select"):
        PhrasesConfig(least=5000).build().study(tiny)
    with pytest.raises(ConfigError, match="recommendation.ranking needs a recommender that scores items"):
        RankingConfig().build().study(material_of(extractor=object()))


def test_users_without_a_next_item_cannot_be_ranked(world, material_of):
    data = AtomicConfig(root=str(world), history=12, holdout="none").build()
    other = SasrecConfig(width=8, random=True).build(data)
    with pytest.raises(DatasetError, match="0 test users have an item that came next"):
        RankingConfig().build().study(material_of(dataset=data, extractor=other))
