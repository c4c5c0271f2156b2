"""UA, IRA and CRA of pictures whose verdicts are planted."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.errors import ConfigError, DatasetError
from omnisae_diffusion.generated import Concept, Generated
from omnisae_diffusion.shares import exact, share
from omnisae_diffusion.unlearning import sequence, unlearning

DIGITS, INKS, SEEDS = ("3", "7", "8"), ("chalk", "neon"), range(4)
ROWS = list(itertools.product(DIGITS, INKS, SEEDS))


def generated(digit=lambda d, i, s: d, ink=lambda d, i, s: i, rows=ROWS):
    """Pictures of every digit in every ink: what is judged is what these functions say."""
    return Generated(
        [f"{d} in {i}" for d, i, _ in rows],
        [s for *_, s in rows],
        {"digit": [d for d, *_ in rows], "ink": [i for _, i, _ in rows]},
        {"digit": [digit(*row) for row in rows], "ink": [ink(*row) for row in rows]},
    )


SEVEN, THREE, NEON = Concept("digit", "7"), Concept("digit", "3"), Concept("ink", "neon")


def test_planted_verdicts_give_the_planted_numbers():
    edited = generated(
        # of 8 sevens one is still seen; of 16 other digits the four 8s in neon go wrong
        digit=lambda d, i, s: (
            "1" if (d, i) == ("8", "neon") else "3" if d == "7" and (i, s) != ("neon", 0) else d
        ),
        # ink is lost on two of 8 sevens, and on one of the 16 others
        ink=lambda d, i, s: "stamp" if (d, s) in (("7", 1),) or (d, i, s) == ("3", "chalk", 2) else i,
    )  # fmt: skip
    found = unlearning(edited, [SEVEN], generated())
    assert (found.ua.value, found.ua.n, found.ua.prompts) == (7 / 8, 8, 2)
    assert (found.ira.value, found.ira.n, found.ira.prompts) == (12 / 16, 16, 4)
    assert (found.cra.value, found.cra.n) == (21 / 24, 24)
    assert (found.cra_erased.value, found.cra_erased.n) == (6 / 8, 8)
    assert (found.cra_retained.value, found.cra_retained.n) == (15 / 16, 16)
    assert found.ua.unedited == 0
    assert found.ua.change == pytest.approx(87.5)
    assert found.ira.change == pytest.approx(-25)
    assert found.ira.change_low < -25 < found.ira.change_high <= 0
    assert found.by_concept[Concept("digit", "8")].value == 0.5
    assert (found.by_concept[SEVEN].value, found.by_concept[SEVEN].n) == (7 / 8, 8)
    assert found.by_concept[NEON].n == 12


def test_a_perfect_edit_and_no_edit():
    perfect = unlearning(generated(digit=lambda d, i, s: "3" if d == "7" else d), [SEVEN], generated())
    assert (perfect.ua.value, perfect.ira.value, perfect.cra.value) == (1, 1, 1)
    assert (perfect.ira.change, perfect.ira.change_low, perfect.ira.change_high) == (0, 0, 0)
    assert perfect.ua.low == pytest.approx(0.025 ** (1 / 8))  # not a point: 8 pictures cannot tell more
    nothing = unlearning(generated(), [SEVEN], generated())
    assert (nothing.ua.value, nothing.ua.change) == (0, 0)


def test_several_concepts_of_two_domains_at_once():
    edited = generated(
        digit=lambda d, i, s: "3" if d == "7" else d,
        ink=lambda d, i, s: "chalk" if i == "neon" and d != "8" else i,
    )
    found = unlearning(edited, [SEVEN, NEON])
    # 8 sevens, all gone, and 12 in neon, of which the four 8s are still seen
    assert (found.ua.value, found.ua.n) == (16 / 20, 20)
    # 3 and 8 in chalk ask for nothing erased: 8 pictures, in both domains
    assert (found.ira.value, found.ira.n) == (1, 16)
    # inks that are kept (12 in chalk), digits that are kept (16 of 3 and 8)
    assert (found.cra.value, found.cra.n) == (1, 28)
    assert np.isnan(found.ua.unedited)


def test_in_a_sequence_a_concept_that_comes_back_is_seen():
    first = generated(digit=lambda d, i, s: "8" if d == "7" else d)
    second = generated(digit=lambda d, i, s: "8" if d == "3" or (d == "7" and s < 1) else d)
    steps = sequence([first, second], [SEVEN, THREE], generated())
    assert [step.erased for step in steps] == [(SEVEN,), (SEVEN, THREE)]
    assert steps[0].gone[SEVEN].value == 1
    assert steps[1].gone[SEVEN].value == 0.25
    assert steps[1].gone[THREE].value == 1
    assert steps[1].worst == steps[1].gone[SEVEN]
    assert steps[1].all.ua.value == (2 + 8) / 16
    assert steps[1].all.ira.n == 8
    with pytest.raises(ConfigError, match="1 sets of pictures for 2 concepts"):
        sequence([first], [SEVEN, THREE])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_pictures_decides_nothing(seed):
    random = np.random.default_rng(seed)
    digit = dict(zip(ROWS, random.choice(DIGITS, len(ROWS)), strict=True))
    before = dict(zip(ROWS, random.choice(DIGITS, len(ROWS)), strict=True))

    def numbers(rows, base):
        edited = generated(digit=lambda *row: digit[row], rows=rows)
        return unlearning(edited, [SEVEN], generated(digit=lambda *row: before[row], rows=base), times=50)

    mixed = [ROWS[at] for at in random.permutation(len(ROWS))]
    assert numbers(ROWS, ROWS) == numbers(mixed, ROWS) == numbers(ROWS, mixed)


def test_prompts_are_drawn_whole():
    prompts = np.repeat([f"p{at}" for at in range(20)], 50)
    together = share("a", np.repeat(np.arange(20) < 10, 50), prompts)
    apart = share("a", np.tile(np.arange(50) < 25, 20), prompts)
    # twenty coins of 50 pictures each: a standard error of 0.5 / √20, not of 0.5 / √1000
    assert together.high - together.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(20), rel=0.15)
    assert apart.high - apart.low < 1e-9


def test_one_prompt_is_drawn_by_pictures():
    one = share("a", np.arange(100) < 30, np.full(100, "p"))
    assert one.low == pytest.approx(0.3 - 1.96 * np.sqrt(0.21 / 100), abs=0.03)
    assert one.prompts == 1


def test_the_interval_covers_the_truth():
    random = np.random.default_rng(0)
    inside = 0
    for at in range(200):
        chance = np.repeat(random.beta(4, 2, 40), 5)
        found = share("a", random.random(200) < chance, np.repeat(np.arange(40), 5), seed=at, times=300)
        inside += found.low <= 4 / 6 <= found.high
    assert inside / 200 > 0.9


def test_shares_of_nothing():
    empty = share("a", np.zeros(0, dtype=bool), np.zeros(0, dtype=str))
    assert empty.n == 0
    assert np.isnan(empty.value)
    assert all(np.isnan(exact(0, 0)))
    alone = unlearning(generated(rows=[row for row in ROWS if row[0] == "7"]), [SEVEN])
    assert alone.ira.n == 0


def test_a_finding_names_the_unedited_pictures_as_its_control():
    found = unlearning(generated(), [SEVEN], generated()).ira.finding()
    assert (found.value, found.control, found.n) == (1, 1, 16)
    assert "unedited" in found.against
    assert "4 prompts; +0.0 points" in found.remark


def test_a_concept_that_nobody_asked_for():
    with pytest.raises(ConfigError, match="no prompt asks for the erased concept 'digit=77'") as error:
        unlearning(generated(), [Concept("digit", "77")])
    assert "'digit=7'" in error.value.remedy
    with pytest.raises(ConfigError, match="no erased concept"):
        unlearning(generated(), [])
    with pytest.raises(ConfigError, match="names no concept of a domain"):
        Concept.parse("seven")
    assert Concept.parse("digit=7") == SEVEN


def test_pictures_that_do_not_pair():
    with pytest.raises(DatasetError, match=r"8 of 24 edited .* '7 in chalk', seed 0"):
        unlearning(generated(), [SEVEN], generated(rows=[row for row in ROWS if row[0] != "7"]))
    other = Generated(["7 in neon"], [0], {"digit": ["1"], "ink": ["neon"]}, {"digit": ["1"], "ink": ["neon"]})
    one = Generated(["7 in neon"], [0], {"digit": ["7"], "ink": ["neon"]}, {"digit": ["1"], "ink": ["neon"]})
    with pytest.raises(DatasetError, match="different concepts"):
        unlearning(one, [SEVEN], other)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((["a"], [0, 1], {}, {}), "seeds has 2 rows for 1"),
        ((["a"], [0], {"digit": ["7"]}, {"digits": ["7"]}), "not judged in 'digit'"),
        ((["a", "a"], [0, 0], {}, {}), "1 pictures have the prompt and the seed of another"),
    ],
)
def test_tables_that_do_not_hold(arguments, says):
    with pytest.raises(DatasetError, match=says):
        Generated(*arguments)
