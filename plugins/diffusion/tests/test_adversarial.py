"""The search for a concept's return, on black boxes whose weak spot is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.errors import ConfigError
from omnisae_diffusion.adversarial import Budget, attacks, search
from omnisae_diffusion.candidates import Candidate, Space

SPACE = Space((2, 3), ("one", "seven", "nine"))
SPOT = np.array([1.0, -1, 1, 1, -1, 1], dtype=np.float32) / np.sqrt(6)
FAST = Budget(generations=256, batch=16)


def spot(candidates):
    """A picture is its candidate; its concept returns only where noise points into a cone that random draws all but
    never meet, and slopes towards it elsewhere."""
    out = []
    for one in candidates:
        noise = one.noise.ravel()
        out.append(max(float(noise @ SPOT) / float(np.linalg.norm(noise)), 0))
    return np.array(out)


def itself(pictures):
    """A black box's pictures are scores already."""
    return np.asarray(pictures)


def nothing(candidates):
    return np.zeros(len(candidates))


NEEDLE = Budget(generations=256, batch=16, threshold=0.98)


def test_a_small_region_is_found_by_search_and_not_by_chance():
    found = attacks({"edited": spot}, itself, SPACE, NEEDLE, restarts=8)["edited"]
    assert found.unaided.value < 0.01
    assert found.unaided.n == 8 * 128
    assert found.rate(256).value >= 0.75
    assert found.rate(256).n == 8
    score, best = found.best[0]
    assert score == pytest.approx(spot([best])[0])
    assert score >= 0.98


def test_a_direction_among_hundreds_is_found_by_joining_good_candidates():
    spot = np.random.default_rng(5).normal(size=768)
    spot /= np.linalg.norm(spot)

    def box(candidates):
        return np.array([1 / (1 + np.exp(-2 * (one.noise @ spot - 4))) for one in candidates])

    found = attacks({"edited": box}, itself, Space((768,)), Budget(256, threshold=0.9), restarts=8)["edited"]
    assert found.unaided.value == 0
    assert found.rate(256).value >= 0.7


def test_where_nothing_works_nothing_is_reported_with_its_n():
    found = attacks({"edited": nothing, "unedited": lambda c: np.ones(len(c))}, itself, SPACE, FAST, restarts=6)
    none = found["edited"].rate(256)
    assert (none.value, none.n, none.low) == (0, 6, 0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 6))
    assert found["edited"].trials[0].first is None
    assert found["unedited"].rate(1).value == 1
    assert found["unedited"].unaided.value == 1


def test_a_label_that_brings_it_back_is_tried_first():
    def box(candidates):
        return np.array([float(one.weights[2] == 1) for one in candidates])

    trial = search(box, itself, SPACE, FAST)
    assert trial.first == 3
    assert trial.best[0].weights.tolist() == [0, 0, 1]


def test_a_mixture_that_no_label_gives_alone_is_found():
    def box(candidates):
        away = [abs(one.weights - [0.45, 0.1, 0.45]).sum() for one in candidates]
        return np.array([np.exp(-5 * one) for one in away])

    budget = Budget(generations=256, threshold=0.8)
    found = attacks({"edited": box}, itself, SPACE, budget, restarts=5)["edited"]
    assert found.rate(256).value >= 0.8
    alone = attacks({"edited": box}, itself, Space((2, 3), SPACE.labels, mix=False), budget, restarts=5)["edited"]
    assert alone.rate(256).value == 0


def test_the_rate_only_grows_with_the_budget_and_the_curve_ends_at_it():
    curve = attacks({"edited": spot}, itself, SPACE, NEEDLE, restarts=6)["edited"].curve()
    assert [rate.generations for rate in curve] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    values = [rate.value for rate in curve]
    assert values == sorted(values)
    assert all(rate.low <= rate.value <= rate.high for rate in curve)


def test_models_are_compared_from_the_same_draws():
    seen = {"edited": [], "unedited": []}

    def recording(name, box):
        def generate(candidates):
            seen[name].append([one.noise for one in candidates])
            return box(candidates)

        return generate

    attacks({"edited": recording("edited", nothing), "unedited": recording("unedited", spot)}, itself, SPACE, FAST,
            restarts=1)  # fmt: skip
    first = 128 // 16
    assert all(np.array_equal(a, b) for a, b in zip(seen["edited"][:first], seen["unedited"][:first], strict=True))
    assert not np.array_equal(seen["edited"][-1], seen["unedited"][-1])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), generations=st.integers(1, 40), batch=st.integers(1, 17), explore=st.floats(0.01, 1))
def test_a_search_spends_its_budget_exactly_and_is_decided_by_its_seed(seed, generations, batch, explore):
    budget = Budget(generations, batch, explore)
    asked = []

    def box(candidates):
        asked.append(len(candidates))
        return spot(candidates)

    one, again = (search(box, itself, SPACE, budget, seed=seed) for _ in range(2))
    assert sum(asked) == 2 * generations
    assert max(asked) <= batch
    assert np.array_equal(one.scores, again.scores)
    assert one.best_scores[0] == one.scores.max()
    assert list(one.best_scores) == sorted(one.best_scores, reverse=True)
    if generations > 4:
        assert not np.array_equal(one.scores, search(box, itself, SPACE, budget, seed=seed + 1).scores)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), step=st.floats(0.05, 1.57), mix=st.booleans())
def test_changes_stay_what_the_model_was_trained_on(seed, step, mix):
    random = np.random.default_rng(seed)
    space = Space((40, 40), SPACE.labels, mix=mix)
    near = space.near(space.near(space.draw(random), step, random), step, random)
    assert near.noise.dtype == np.float32
    assert near.noise.std() == pytest.approx(1, abs=0.1)
    assert near.weights.sum() == pytest.approx(1)
    assert near.weights.min() >= 0
    if not mix:
        assert near.weights.max() == 1


def test_what_is_joined_keeps_its_length_and_what_it_has_in_common():
    random = np.random.default_rng(0)
    space = Space((60, 60), SPACE.labels)
    several = [space.draw(random) for _ in range(4)]
    joined = space.join(several)
    assert joined.noise.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(joined.weights, np.mean([one.weights for one in several], axis=0))
    for one in several:
        assert np.corrcoef(one.noise.ravel(), joined.noise.ravel())[0, 1] == pytest.approx(0.5, abs=0.06)
    assert space.join(several[:1]) is several[0]
    single = Space((60, 60), SPACE.labels, mix=False)
    assert single.join([single.draw(random) for _ in range(5)]).weights.max() == 1


def test_small_steps_stay_near():
    random = np.random.default_rng(0)
    space = Space((100,))
    start = space.draw(random)
    assert start.weights is None
    angle = np.cos(0.1)
    near = space.near(start, 0.1, random).noise
    assert np.corrcoef(start.noise, near)[0, 1] == pytest.approx(angle, abs=0.02)


@pytest.mark.parametrize(
    ("generate", "score", "says"),
    [
        (lambda c: spot(c)[1:], itself, "15 pictures of 16 candidates"),
        (spot, lambda p: p[None], r"shape \[1, 16\] for 16"),
        (spot, lambda p: p + 2, "score gave"),
        (spot, lambda p: p * np.nan, "score gave nan"),
    ],
)
def test_boxes_that_answer_amiss(generate, score, says):
    with pytest.raises(ConfigError, match=says):
        search(generate, score, SPACE, FAST)


def test_settings_that_cannot_hold():
    with pytest.raises(ConfigError, match="generations is 0"):
        Budget(generations=0)
    with pytest.raises(ConfigError, match="explore is 2"):
        Budget(explore=2)
    with pytest.raises(ConfigError, match="holds no number"):
        Space(())
    with pytest.raises(ConfigError, match="more than once"):
        Space((2,), ("a", "a"))
    with pytest.raises(ConfigError, match="0 models"):
        attacks({}, itself, SPACE)
    with pytest.raises(ConfigError, match="choose from 1 to 4"):
        attacks({"edited": nothing}, itself, SPACE, Budget(4), restarts=1)["edited"].rate(5)
    assert Candidate(np.zeros(2)).weights is None
