"""The gate of a table: whether a concept is there, told by the model's activations at every time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from omnisae.errors import DatasetError
from omnisae.hooks.point import HookPoint, Told
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter
from omnisae_diffusion.selection import presence
from omnisae_diffusion.selection.entry import Entry
from omnisae_diffusion.selection.table import LatentTable

TICKS = (500.0, 0.0)
WIDTH, PLACES = 6, 5


def hook(columns=()):
    return HookPoint(
        name="h",
        at=("unet.mid_block",),
        pattern="example ([cls] + position) d",
        sizes={"position": PLACES},
        width=WIDTH + len(columns),
        told={"timestep": Told(module="unet", argument="timestep", ticks=TICKS)},
        columns=columns,
    )


class Source:
    """Tokens of every example at every step, in batches of one step; the special token far away."""

    def __init__(self, values, columns=()):
        self.hook, self.values, self.asked = hook(columns), values, []

    def sequential(self, keep, examples):
        self.asked.append((keep, examples))
        for step in range(len(TICKS)):
            rows = np.flatnonzero(examples)
            example = np.repeat(rows, PLACES + 1)
            position = np.tile(np.arange(-1, PLACES), len(rows))
            values = self.values[step, example, position]
            values[position < 0] = 1e6
            if self.hook.columns:
                values = np.concatenate([values, np.full((len(values), 1), TICKS[step])], axis=1)
            coords = np.stack([np.full(len(example), step), position], axis=1)
            yield TokenBatch(
                torch.from_numpy(values).float(),
                torch.from_numpy(example),
                torch.from_numpy(coords).int(),
                torch.from_numpy((position < 0).astype(np.uint8)),
            )


def table(entries=2):
    return LatentTable("saeuron", "seven", "a" * 40, "h", (Entry.of([1]),) * entries, TICKS[:entries])


@pytest.fixture
def planted():
    """Means of 80 examples, of which the first half has the concept: it lies along one direction at the first time, and
    along another at the second."""
    random = np.random.default_rng(0)
    means = random.normal(size=(2, 80, WIDTH))
    means[0, :40, 2] += 5
    means[1, :40, 4] -= 5
    has = np.arange(80) < 40
    return means, has


def test_means_are_of_content_tokens_at_every_step():
    values = np.random.default_rng(0).normal(size=(2, 4, PLACES, WIDTH))
    examples = np.array([True, False, True, True])
    for columns in ((), ("timestep",)):
        source, keep = Source(values, columns), TokenFilter()
        found = presence.mean_activations(source, keep, examples)
        assert found.shape == (2, 4, WIDTH), "columns are no activations"
        np.testing.assert_allclose(found[:, examples], values.mean(axis=2)[:, examples], rtol=1e-5, atol=1e-6)
        assert np.isnan(found[:, 1]).all(), "an example that was not read"
        assert source.asked[0][0] is keep


def test_a_gate_finds_what_was_planted_at_its_time(planted):
    means, has = planted
    fit, test = np.arange(80) % 2 == 0, np.arange(80) % 2 == 1
    gated = presence.fitted(table(), means, has & fit, ~has & fit)
    one, two = presence.gates(gated)
    assert np.abs(one.weights).argmax() == 2
    assert one.weights[2] > 0
    assert np.abs(two.weights).argmax() == 4
    assert two.weights[4] < 0
    rates = presence.rates(gated, means, has & test, ~has & test)
    assert rates["found"] >= 0.95
    assert rates["mistaken"] <= 0.05
    assert rates["mistaken"] <= rates["ever mistaken"]
    assert (rates["n found"], rates["n mistaken"]) == (20, 20)


def test_both_sides_count_alike_however_many_there_are(planted):
    means, has = planted
    few = has & (np.arange(80) < 4)
    gated = presence.fitted(table(), means, few, ~has)
    assert presence.rates(gated, means, has & ~few, ~has)["found"] > 0.85


def test_a_gate_of_what_is_not_there_finds_half(planted):
    means, has = planted
    random = np.random.default_rng(1)
    shuffled = random.permutation(has)
    noise = random.normal(size=means.shape)
    fit = np.arange(80) < 40
    rates = presence.rates(presence.fitted(table(), noise, shuffled & fit, ~shuffled & fit), noise, shuffled & ~fit,
                           ~shuffled & ~fit)  # fmt: skip
    assert 0.2 < rates["found"] < 0.8
    assert 0.2 < rates["mistaken"] < 0.8


def test_a_constant_activation_and_scales_do_no_harm(planted):
    means, has = planted
    scaled = means.copy()
    scaled[:, :, 2] *= 1e4
    scaled[:, :, 0] = 7.0
    gated = presence.fitted(table(), scaled, has, ~has)
    assert presence.rates(gated, scaled, has, ~has)["found"] > 0.95
    assert presence.gates(gated)[0].weights[0] == 0


def test_a_time_that_is_not_read_opens_for_nothing(planted):
    means, has = planted
    means[1] = np.nan
    gated = presence.fitted(table(), means, has, ~has)
    shut = presence.gates(gated)[1]
    assert (shut.weights == 0).all()
    assert shut.bias < 0
    rates = presence.rates(gated, means, has, ~has)
    assert rates["found"] == pytest.approx(0.5, abs=0.03), "all at the first time, none at the second"


def test_gates_stand_in_the_file(planted, tmp_path):
    means, has = planted
    gated = presence.fitted(table(), means, has, ~has)
    gated.save(tmp_path / "t.safetensors")
    again = LatentTable.load(tmp_path / "t.safetensors")
    for one, two in zip(presence.gates(gated), presence.gates(again), strict=True):
        np.testing.assert_array_equal(one.weights, two.weights)
        assert one.bias == two.bias
    assert presence.rates(gated, means, has, ~has) == presence.rates(again, means, has, ~has)
    assert presence.FACT not in table().facts, "the table that was given is as it was"


def test_a_map_has_a_gate_for_every_time_and_not_for_every_place(planted):
    means, has = planted
    maps = LatentTable("map", "seven", "a" * 40, "h", (Entry.of([1]),) * 8, TICKS, grid={"y": 2, "x": 2})
    assert len(presence.gates(presence.fitted(maps, means, has, ~has))) == 2


@pytest.mark.parametrize(("with_it", "without"), [(1, 40), (40, 1), (0, 40)])
def test_too_few_examples_make_no_gate(planted, with_it, without):
    means, _ = planted
    present = np.arange(80) < with_it
    absent = np.arange(80) >= 80 - without
    with pytest.raises(DatasetError) as error:
        presence.fitted(table(), means, present, absent)
    assert error.value.problem == (f"{with_it} examples with the concept and {without} without it do not make a gate")
    assert error.value.remedy == "give examples of both on the side of the split that selects"


def test_a_table_without_gates_is_said():
    with pytest.raises(DatasetError) as error:
        presence.gates(table())
    assert error.value.problem == "the table of 'seven' (saeuron) holds no gate"
    assert error.value.remedy == "select it again with a gate, or set gated: false"


@pytest.mark.parametrize("told", ["all", [], [{"weights": [0.0], "bias": 0.0}]])
def test_gates_that_do_not_fit_the_times_are_none(told):
    one = SimpleNamespace(facts={presence.FACT: told}, entries=table().entries, concept="seven", method="m")
    one.times = TICKS
    with pytest.raises(DatasetError, match="holds no gate"):
        presence.gates(one)
