"""SAeUron's selection by slow loops over its formula, a planted concept that it must find, and its held-out quality."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.split import SELECT, TEST, TRAIN
from omnisae.hooks.point import HookPoint, Told
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.writer import PostingsWriter
from omnisae.tokens.filter import TokenFilter
from omnisae_diffusion.selection import means, quality, quantile, saeuron
from omnisae_diffusion.selection.entry import Entry

TIMES = (800.0, 400.0, 0.0)
EXAMPLES, STEPS, PATCHES, LATENTS, CONCEPTS = 72, 3, 4, 24, 3


def written(folder, codes, split, *, signed=False):
    """Posting lists of dense codes, example × step × patch × latent; TRAIN examples are not encoded."""
    hook = HookPoint(
        name="mid", at=("mid",), pattern="example (y x) d", sizes={"y": 2, "x": 2}, width=4,
        told={"timestep": Told(argument="timestep", ticks=TIMES)},
    )  # fmt: skip
    rows = [(row, step) for row in range(len(codes)) if split[row] != TRAIN for step in range(STEPS)]
    dense = np.concatenate([codes[row, step] for row, step in rows])
    example = np.repeat([row for row, _ in rows], PATCHES)
    coords = np.array([(step, patch // 2, patch % 2) for _, step in rows for patch in range(PATCHES)])
    offsets = np.concatenate([[0], np.cumsum((dense != 0).sum(axis=1))])
    writer = PostingsWriter(folder, hook, TokenFilter(), codes.shape[-1], split, {}, signed=signed)
    with writer:
        roles = np.zeros(len(example), dtype=np.uint8)
        writer.append(example, coords, roles, offsets, np.nonzero(dense)[1], dense[dense != 0])
        return writer.finish(health(Reconstruction(), writer.counts, len(dense)))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """At step t latent 3·c + t fires for concept c in nearly all its pictures; all else fires anywhere, as strongly."""
    random = np.random.default_rng(0)
    concept = np.arange(EXAMPLES) % CONCEPTS
    split = np.array([TRAIN, SELECT, TEST], dtype=np.uint8)[np.arange(EXAMPLES) // CONCEPTS % 3]
    shape = (EXAMPLES, STEPS, PATCHES, LATENTS)
    codes = np.where(random.random(shape) < 0.15, random.random(shape) + 0.1, 0).astype(np.float32)
    codes[..., :9] = 0
    codes[..., 20:] = 4 + 0.1 * random.random((*shape[:3], 4))  # loud everywhere: means alone would choose them
    for row in range(EXAMPLES):
        for step in range(STEPS):
            codes[row, step, random.random(PATCHES) < 0.7, 3 * concept[row] + step] = 1.5
    postings = written(tmp_path_factory.mktemp("saeuron") / "codes", codes, split)
    labels = {f"c{c}": np.where(concept == c, 1.0, 0.0) for c in range(CONCEPTS)}
    return SimpleNamespace(codes=codes, split=split, postings=postings, labels=labels, concept=concept)


# -- quantiles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("percentile", "count"), [(99.99, 3), (99.995, 2), (99.999, 1), (100, 0), (0, 20_479)])
def test_of_the_papers_latents_exactly_three_two_or_one_are_chosen(percentile, count):
    scores = np.random.default_rng(1).standard_normal(20_480)
    chosen = saeuron.select(scores, percentile)
    assert len(chosen) == count
    np.testing.assert_array_equal(chosen, np.argsort(-scores)[:count])


def test_the_choice_is_that_of_an_interpolated_quantile():
    scores = torch.from_numpy(np.random.default_rng(2).standard_normal(20_480))
    for percentile in (50, 99, 99.9, 99.99):
        want = (scores > torch.quantile(scores, percentile / 100)).numpy()
        np.testing.assert_array_equal(quantile.above(scores.numpy(), percentile), want)


def test_a_place_that_is_a_whole_number_is_not_missed_by_rounding():
    """At 1,001 values the 99.9th percentile is the 1,000th of them, which is not above itself."""
    values = np.arange(1001.0) / 10
    assert quantile.above(values, 99.9).sum() == 1
    assert quantile.at_least(values, 99.9).sum() == 2
    assert quantile.above(np.arange(11.0), 70).sum() == 3  # 0.7 · 10 is 7.000000000000001 in floats of another order


def test_ties_make_the_choice_smaller_above_and_larger_at_least():
    tied = np.array([0.0, 1, 2, 2, 2, 2])
    assert quantile.above(tied, 80).sum() == 0
    assert quantile.at_least(tied, 80).sum() == 4
    assert quantile.above(np.zeros(100), 99).sum() == 0
    half = np.array([0.0, 1, 2, 2, 3])
    assert quantile.above(half, 60).tolist() == [False, False, False, False, True]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=40), st.integers(0, 1000))
def test_above_and_at_least_by_exact_fractions(values, tenths):
    from fractions import Fraction

    place = Fraction(tenths, 1000) * (len(values) - 1)
    ordered, low = sorted(values), int(place)
    high = min(low + 1, len(values) - 1)
    level = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    array = np.array(values, dtype=float)
    assert quantile.above(array, tenths / 10).tolist() == [value > level for value in values]
    assert quantile.at_least(array, tenths / 10).tolist() == [value >= level for value in values]


def test_more_values_than_torch_takes_are_no_hindrance():
    values = np.zeros(2**24 + 1)
    values[7] = 1
    assert np.flatnonzero(quantile.above(values, 99.99999)).tolist() == [7]
    with pytest.raises(ConfigError, match=r"a percentile of 999 was given\n  → give one from 0 to 100"):
        quantile.above(values[:3], 999)


# -- SAeUron -----------------------------------------------------------------------------------------------------------


def slow_mean(codes, rows, step, latent):
    values = [float(codes[row, step, patch, latent]) for row in rows for patch in range(PATCHES)]
    return sum(values) / len(values)


@pytest.mark.parametrize(("entries", "sums"), [(means.ENTRIES, means.SUMS), (40, means.SUMS), (means.ENTRIES, 20)])
def test_means_and_scores_by_loops_over_prompts_and_patches(planted, monkeypatch, entries, sums):
    monkeypatch.setattr(means, "ENTRIES", entries)
    monkeypatch.setattr(means, "SUMS", sums)
    select = planted.split == SELECT
    groups = np.stack([select & (planted.concept == 1), select & (planted.concept != 1)])
    found = means.means(planted.postings, groups)
    assert found.times == TIMES
    assert (found.tokens[:, 0] == groups.sum(axis=1) * PATCHES).all()
    scores = saeuron.score(found.mean[0], found.mean[1])
    for step in range(STEPS):
        slow = [[slow_mean(planted.codes, np.flatnonzero(g), step, i) for i in range(LATENTS)] for g in groups]
        np.testing.assert_allclose(found.mean[:, step], slow, rtol=1e-6)
        want = [slow[0][i] / sum(slow[0]) - slow[1][i] / sum(slow[1]) for i in range(LATENTS)]
        np.testing.assert_allclose(scores[step], want, rtol=1e-5, atol=1e-9)


def test_groups_that_share_examples_have_the_means_of_single_groups(planted):
    """Many overlapping groups go another way than few that exclude each other."""
    random = np.random.default_rng(4)
    few = (random.random((2, EXAMPLES)) < 0.5) & (planted.split != TRAIN)
    many = (random.random((8, EXAMPLES)) < 0.5) & (planted.split != TRAIN)
    for groups in (few, many):
        whole = means.means(planted.postings, groups)
        for number, group in enumerate(groups):
            alone = means.means(planted.postings, group[None])
            np.testing.assert_allclose(whole.mean[number], alone.mean[0], rtol=1e-12)
            np.testing.assert_array_equal(whole.tokens[number], alone.tokens[0])


def test_means_of_marked_tokens_and_without_a_time_axis(planted):
    group = (planted.split == SELECT)[None]
    first = np.asarray(planted.postings.coords)[:, 1] == 0  # the upper row of patches
    found = means.means(planted.postings, group, keep=first)
    np.testing.assert_allclose(found.mean[0], planted.codes[group[0]][:, :, :2].mean(axis=(0, 2)), rtol=1e-5)
    flat = means.means(planted.postings, group, axis=None)
    assert flat.times == ()
    np.testing.assert_allclose(flat.mean[0, 0], planted.codes[group[0]].mean(axis=(0, 1, 2)), rtol=1e-5)


def test_the_planted_latents_are_found_at_their_steps(planted):
    found = saeuron.tables(planted.postings, planted.labels, percentile=95.7, identity="me")
    assert list(found) == ["c0", "c1", "c2"]
    for concept, table in enumerate(found.values()):
        for step, time in enumerate(TIMES):
            entry = table.at(time)
            assert entry.latents.tolist() == [3 * concept + step]
            mine = planted.codes[(planted.split == SELECT) & (planted.concept == concept)]
            assert entry.targets[0] == pytest.approx(mine[:, step, :, 3 * concept + step].mean(), rel=1e-5)
            assert entry.gates[0] == pytest.approx(entry.targets[0] / CONCEPTS, rel=1e-5)  # silent for the others
        assert table.facts["examples with the concept"] == 8
        assert table.facts["examples without it"] == 16


def test_test_examples_choose_nothing(planted, tmp_path):
    """With the codes of TEST made noise the tables are the same."""
    noisy = planted.codes.copy()
    noisy[planted.split == TEST] = np.random.default_rng(9).random(noisy[planted.split == TEST].shape)
    other = written(tmp_path / "codes", noisy, planted.split)
    settings = {"percentile": 90, "identity": "me", "only": ["c1"]}
    (a,), (b,) = (saeuron.tables(p, planted.labels, **settings).values() for p in (planted.postings, other))
    for one, two in zip(a.entries, b.entries, strict=True):
        np.testing.assert_array_equal(one.latents, two.latents)
        np.testing.assert_array_equal(one.targets, two.targets)


def test_a_percentile_for_each_concept(planted):
    found = saeuron.tables(
        planted.postings, planted.labels, percentile={"c0": 80, "c2": 95.7}, identity="", only=["c0", "c2"]
    )
    assert [len(table.at(0.0)) for table in found.values()] == [5, 1]


def test_the_edit_by_a_loop():
    random = np.random.default_rng(5)
    codes = random.random((20, 6)).astype(np.float32)
    entry = Entry.of([4, 1], gates=[0.5, 0.2], targets=[0.3, 0.9])
    want = codes.copy()
    for token in range(20):
        for latent, gate, target in ((4, 0.5, 0.3), (1, 0.2, 0.9)):
            if codes[token, latent] > np.float32(gate):
                want[token, latent] = -2.0 * np.float32(target) * codes[token, latent]
    np.testing.assert_allclose(saeuron.edited(codes, entry, -2.0), want, rtol=1e-6)
    assert (codes >= 0).all()  # what was given is as it was


def test_gates_count_every_concept_alike():
    found = saeuron.gates(np.array([[[3.0, 0.0]], [[0.0, 6.0]], [[0.0, 0.0]]]))
    assert found.tolist() == [[1.0, 2.0]]


def test_the_gate_is_the_mean_over_the_concepts_that_are_labelled(planted):
    """Of two concepts a half, though two thirds of the pictures show other things than either."""
    two = {name: planted.labels[name] for name in ("c0", "c1")}
    for table in saeuron.tables(planted.postings, two, percentile=95.7, identity="").values():
        for entry in table.entries:
            np.testing.assert_allclose(entry.gates, entry.targets / 2, rtol=1e-5)


def test_examples_of_a_side_are_those_that_were_encoded(planted):
    every = np.ones((2, EXAMPLES), dtype=bool)
    np.testing.assert_array_equal(means.on_side(planted.postings, every, TEST)[1], planted.split == TEST)
    assert not means.on_side(planted.postings, every, TRAIN).any()  # these have no tokens


def test_what_cannot_be_selected_is_said(planted, tmp_path):
    nobody = planted.labels | {"cat": np.zeros(EXAMPLES)}
    with pytest.raises(DatasetError, match="the concept 'cat' has no encoded example with the concept on the side"):
        saeuron.tables(planted.postings, nobody, percentile=99, identity="")
    with pytest.raises(DatasetError, match="the concept 'all' has no encoded example without it"):
        saeuron.tables(planted.postings, {"all": np.ones(EXAMPLES)}, percentile=99, identity="")
    with pytest.raises(ConfigError, match=r"'mid' does not lie along 'position' \(its axes: timestep, y, x\)"):
        saeuron.tables(planted.postings, planted.labels, percentile=99, identity="", axis="position")
    with pytest.raises(ConfigError, match="no concept was given"):
        saeuron.tables(planted.postings, {}, percentile=99, identity="")
    late = np.asarray(planted.postings.coords)[:, 0] > 0
    with pytest.raises(DatasetError, match=r"group 0 has no token at step 0 \(time 800\)"):
        saeuron.tables(planted.postings, planted.labels, percentile=99, identity="", keep=late)
    signed = written(tmp_path / "codes", -planted.codes, planted.split, signed=True)
    with pytest.raises(ConfigError, match="the codes at 'mid' are signed"):
        saeuron.tables(signed, planted.labels, percentile=99, identity="")


# -- held-out quality --------------------------------------------------------------------------------------------------


def test_selected_latents_separate_held_out_pictures_and_random_ones_do_not(planted):
    values = quality.activations(planted.postings)
    dense = values.toarray().reshape(EXAMPLES, STEPS, LATENTS)
    kept = planted.split != TRAIN
    np.testing.assert_allclose(dense[kept], planted.codes[kept].mean(axis=2), rtol=1e-5)
    assert not dense[~kept].any()
    table = saeuron.tables(planted.postings, planted.labels, percentile=95.7, identity="")["c1"]
    chosen = quality.units(table, TIMES, LATENTS)
    assert chosen.tolist() == [3, LATENTS + 4, 2 * LATENTS + 5]
    sides = {"fit": planted.split == SELECT, "test": planted.split == TEST}
    found = quality.separation(values, chosen, planted.labels["c1"], **sides, latents=LATENTS)
    assert found.auroc > 0.99
    assert (found.positives, found.negatives, found.draws) == (8, 16, 100)
    assert 0.3 < found.control < 0.7
    assert found.p < 0.05
    assert found.high < found.auroc
    null = quality.separation(values, np.array([12, 13]), planted.labels["c1"], **sides, latents=LATENTS)
    assert null.p > 0.01


def test_the_separation_by_loops(planted):
    labels, fit, test = planted.labels["c2"], planted.split == SELECT, planted.split == TEST
    chosen = np.array([6, 7, 12, 15])
    dense = quality.activations(planted.postings, axis=None).toarray()
    dense[:, 12] *= 50  # noise that would drown the others, were it not normalised
    values = csr_array(dense).tocsc()
    score = {
        row: sum(dense[row, unit] / max(dense[other, unit] for other in np.flatnonzero(fit)) for unit in chosen)
        for row in np.flatnonzero(test)
    }
    won = [
        1.0 if score[a] > score[b] else 0.5 if score[a] == score[b] else 0.0
        for a in score for b in score if labels[a] == 1 and labels[b] == 0
    ]  # fmt: skip
    found = quality.separation(values, chosen, labels, fit=fit, test=test, latents=LATENTS, draws=3)
    assert found.auroc == pytest.approx(sum(won) / len(won))


def test_controls_fire_about_as_often_at_the_same_step():
    often = np.concatenate([np.arange(40), np.arange(40)[::-1]]) + 1
    sets = quality._controls(np.array([10, 11, 70]), often, 40, 50, np.random.default_rng(0))
    assert len(sets) == 50
    for one in sets:
        assert len(set(one)) == 3
        assert not set(one) & {10, 11, 70}
        assert (np.abs(often[one] - often[[10, 11, 70]]) <= quality.NEAREST).all()
        assert one[0] < 40 <= one[2]
    assert len({tuple(one) for one in sets}) > 10


def test_separation_refuses_examples_on_both_sides_and_one_sided_tests(planted):
    values, labels = quality.activations(planted.postings), planted.labels["c0"]
    every = np.ones(EXAMPLES, dtype=bool)
    with pytest.raises(DatasetError, match="72 examples are on both sides: what chose the latents would judge them"):
        quality.separation(values, np.array([0]), labels, fit=every, test=every, latents=LATENTS)
    with pytest.raises(DatasetError, match="the test side has 0 examples with the concept and 16 without it"):
        quality.separation(
            values, np.array([0]), labels, fit=~every, test=(planted.split == TEST) & (labels == 0), latents=LATENTS
        )


def test_where_no_other_latent_fires_there_is_no_control():
    values = csr_array(np.array([[1.0, 0], [0, 0], [1, 0], [0, 0]])).tocsc()
    fit = np.array([True, True, False, False])
    found = quality.separation(values, np.array([0]), np.array([1.0, 0, 1, 0]), fit=fit, test=~fit, latents=2)
    assert found.auroc == 1.0
    assert found.draws == 0
    assert math.isnan(found.control)
    assert math.isnan(found.p)
