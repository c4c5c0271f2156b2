"""Operations by tables of latents: the papers' formulas, what keeps its bits, and tables that do not fit."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import omnisae_diffusion
from omnisae.errors import ArtifactError, ConfigError
from omnisae.interventions.operation import Tokens
from omnisae.interventions.sparse import block_of
from omnisae.interventions.weights import Along
from omnisae_diffusion.operations import Deactivate, Erase, Steer
from omnisae_diffusion.plugin_edits import DeactivateConfig, EraseConfig, SteerConfig
from omnisae_diffusion.selection import pairs, presence, saeuron
from omnisae_diffusion.selection.entry import Entry
from omnisae_diffusion.selection.table import LatentTable

EVERY = tuple(range(24))


def dense(codes):
    return block_of(codes, EVERY)


def two_entries():
    return [
        Entry.of([2, 0, 7], gates=[0.1, 0.0, -np.inf], targets=[2.0, 0.5, 3.0]),
        Entry.of([1, 2], gates=[0.3, 1e9], targets=[1.5, 2.0]),
    ]


# -- erasing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [-1.0, -30.0, 0.0, 1.0])
def test_erasing_is_saeuron_s_formula(room, gamma):
    entries = two_entries()
    found = room.apply(Erase(table=room.table(entries), strength=gamma))
    step = room.tokens.coords[:, 0].numpy()
    expected = room.dense.numpy().copy()
    for number, entry in enumerate(entries):
        rows = step == number
        expected[rows] = saeuron.edited(expected[rows], entry, gamma)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    if gamma == -30:
        assert (found != room.dense).any(), "latents of the table fire"


@given(st.floats(-40, 40, allow_nan=False), st.lists(st.floats(0, 3), min_size=24, max_size=24), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_erasing_any_table_is_the_dense_formula(room, gamma, gates, seed):
    random = np.random.default_rng(seed)
    latents = random.permutation(24)[: random.integers(1, 24)]
    entry = Entry.of(latents, gates=np.asarray(gates)[latents], targets=random.uniform(0, 2, len(latents)))
    found = room.apply(Erase(table=room.table([entry, entry]), strength=gamma))
    np.testing.assert_allclose(found.numpy(), saeuron.edited(room.dense.numpy(), entry, gamma), rtol=1e-5, atol=1e-6)


def test_a_relative_strength_leaves_out_the_concept_s_mean(room):
    entry = Entry.of(EVERY, gates=np.zeros(24), targets=np.full(24, 7.0))
    found = room.apply(Erase(table=room.table([entry, entry]), strength=-2.0, relative=True))
    torch.testing.assert_close(found, -2 * room.dense)
    assert (room.apply(Erase(table=room.table([entry, entry]), strength=0.0, relative=True)) == 0).all()


def test_what_does_not_exceed_its_gate_keeps_its_codes(room):
    entry = Entry.of(EVERY, gates=np.full(24, 1e9), targets=np.ones(24))
    operation = Erase(table=room.table([entry, entry]), strength=-5.0).prepared(room.sae.known)
    assert torch.equal(dense(operation.apply(room.codes, room.tokens)), room.dense)


def test_erasing_without_an_axis_is_the_same_at_every_time(room):
    entry = Entry.of(EVERY, gates=np.zeros(24), targets=np.ones(24))
    found = room.apply(Erase(table=room.table([entry], ()), strength=-1.0))
    torch.testing.assert_close(found, -room.dense)


def test_weights_share_out_an_erasure(guided):
    entry = Entry.of(EVERY, gates=np.zeros(24), targets=np.ones(24))
    weights = (Along("branch", {0: 0.5, 1: 1.0}), Along("timestep", {guided.ticks[0]: 1.0, guided.ticks[1]: 0.0}))
    found = guided.apply(Erase(table=guided.table([entry] * 2), strength=-1.0, weights=weights))
    step, branch = guided.tokens.coords[:, 0], guided.tokens.coords[:, 1]
    assert torch.equal(found[step == 1], guided.dense[step == 1])
    assert torch.equal(found[(step == 0) & (branch == 1)], -guided.dense[(step == 0) & (branch == 1)])
    half = (step == 0) & (branch == 0)
    torch.testing.assert_close(found[half], torch.zeros_like(found[half]), atol=1e-6, rtol=0)


def test_a_table_by_time_serves_other_numbers_of_steps(bench, room):
    entry = Entry.of(EVERY, gates=np.zeros(24), targets=np.ones(24))
    table = room.table([entry] * 4, (750.0, 500.0, 250.0, 0.0))
    process, asks = room.process, bench.labelled()
    before = process.generate(asks)
    with omnisae_diffusion.edit(process, room.sae, Erase(table=table, strength=-1.0)):
        assert (process.generate(asks) != before).any()


# -- tables that do not fit -----------------------------------------------------------------------------------------


def test_a_table_of_another_autoencoder_is_refused(bench, room):
    entry = Entry.of([1])
    with pytest.raises(ArtifactError) as error:
        Erase(table=room.table([entry] * 2, identity="a" * 64)).prepared(room.sae.known)
    assert error.value.problem == (
        f"the table of 'seven' (m) was selected with autoencoder {'a' * 16}…, and this one is "
        f"{room.sae.identity[:16]}…: its latents mean something else"
    )


def test_a_table_bound_to_steps_is_refused_for_others(room):
    with pytest.raises(ArtifactError) as error:
        Erase(table=room.table([Entry.of([1])] * 3, (3.0, 2.0, 1.0), binds="steps")).prepared(room.sae.known)
    assert error.value.problem == "the table of 'seven' is bound to runs of 3 steps, and this one has 2"


def test_a_table_of_far_times_is_refused(room):
    with pytest.raises(ArtifactError) as error:
        Erase(table=room.table([Entry.of([1])] * 2, (900.0, 890.0))).prepared(room.sae.known)
    assert error.value.problem == (
        "the table of 'seven' (m) holds for the times 900, 890 and up to 5.9 beside them, and the model was told 500"
    )


def test_a_latent_that_the_artifact_lacks_is_refused(room):
    with pytest.raises(ArtifactError, match="names latent 24, and the artifact has 24 latents"):
        Erase(table=room.table([Entry.of([24])] * 2)).prepared(room.sae.known)


def test_a_table_along_an_axis_that_is_not_there_is_refused(room):
    table = LatentTable("m", "seven", room.sae.identity, "h", (Entry.of([1]),), (0.0,), axis="position")
    with pytest.raises(ConfigError) as error:
        Erase(table=table).prepared(room.sae.known)
    assert error.value.problem == (
        "the table of 'seven' lies along 'position', and the hook point along timestep, y, x"
    )


def test_a_run_of_other_times_is_refused_when_it_comes_there(bench, room):
    process, table = room.process, room.table([Entry.of([1])] * 3, (500.0, 499.0, 0.0))
    process.steps = 3  # 666, 333, 0
    operation = Erase(table=table)
    try:
        with (
            pytest.raises(ArtifactError, match="the model was told 666"),
            omnisae_diffusion.edit(process, room.sae, operation),
        ):
            process.generate(bench.labelled())
    finally:
        process.steps = 2
    assert bench.hooks_on(process.components) == 0


# -- steering -------------------------------------------------------------------------------------------------------


def test_steering_adds_the_direction_also_where_latents_are_silent(room):
    entries = [Entry.of([3, 5], targets=[1.0, -2.0]), Entry.of([4], targets=[0.5])]
    found = room.apply(Steer(table=room.table(entries), strength=2.0))
    step = room.tokens.coords[:, 0]
    added = torch.zeros_like(room.dense)
    added[step == 0, 3], added[step == 0, 5], added[step == 1, 4] = 2.0, -4.0, 1.0
    torch.testing.assert_close(found, room.dense + added)
    assert torch.equal(found[step == 1][:, [3, 5]], room.dense[step == 1][:, [3, 5]])


def test_a_map_steers_every_place_by_its_own_entry(room):
    random = np.random.default_rng(0)
    targets = random.normal(size=(2, 8, 8, 3))
    entries = [Entry.of([1, 4, 9], targets=targets[step, y, x]) for step, y, x in np.ndindex(2, 8, 8)]
    table = room.table(entries, grid={"y": 8, "x": 8})
    found = room.apply(Steer(table=table, strength=-0.5))
    step, y, x = room.tokens.coords.numpy().T
    expected = room.dense.numpy().copy()
    expected[:, [1, 4, 9]] -= 0.5 * targets[step, y, x]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_map_may_be_gated(bench, room):
    facts = {presence.FACT: [{"weights": [0.0] * room.hook.width, "bias": bias} for bias in (-1.0, 1.0)]}
    table = room.table([Entry.of([3], targets=[30.0])] * 128, grid={"y": 8, "x": 8}, facts=facts)
    with bench.seen(room.process.model.mid_block) as plain:
        room.process.generate(bench.labelled())
    operation = Steer(table=table, strength=1.0, gated=True)
    with (
        omnisae_diffusion.edit(room.process, room.sae, operation),
        bench.seen(room.process.model.mid_block) as found,
    ):
        room.process.generate(bench.labelled())
    assert torch.equal(plain[0], found[0]), "shut at the first time"
    assert not torch.equal(plain[1], found[1]), "open at the second"


def test_a_map_of_another_grid_is_refused(room):
    table = room.table([Entry.of([3])] * 32, grid={"y": 4, "x": 4})
    with pytest.raises(ConfigError) as error:
        Steer(table=table).prepared(room.sae.known)
    assert error.value.problem == "the map of 'seven' has 4 places along 'y', and the hook point 8"


@pytest.mark.parametrize("strength", [0.5, -0.5])
def test_the_ramp_is_saedit_s(room, strength):
    found = room.apply(Steer(table=room.table([Entry.of([3], targets=[1.0])], ()), strength=strength, ramp="saedit"))
    step = room.tokens.coords[:, 0]
    added = (found - room.dense)[:, 3]
    assert torch.equal(found[step == 0], room.dense[step == 0]), "nothing at the first time"
    limit = np.copysign(15 * abs(strength), strength)
    torch.testing.assert_close(added[step == 1], torch.full_like(added[step == 1], float(limit)))


@given(st.floats(0, 1), st.floats(0.01, 3))
def test_the_ramp_grows_up_to_its_limit(progress, factor):
    s = 15 * factor
    assert pairs.strength(progress, factor) == pytest.approx(min(np.expm1(min(progress * s, 700)), s))
    assert pairs.strength(progress, -factor) == -pairs.strength(progress, factor)
    assert pairs.strength(1.0, factor) == pytest.approx(s)


def test_a_strength_of_nothing_leaves_the_picture(bench, room):
    asks = bench.labelled()
    before = room.process.generate(asks)
    table = room.table([Entry.of([3], targets=[1.0])], ())
    with omnisae_diffusion.edit(room.process, room.sae, Steer(table=table, strength=0.0)):
        np.testing.assert_array_equal(room.process.generate(asks), before)
    with omnisae_diffusion.edit(room.process, room.sae, Steer(table=table, strength=30.0)):
        assert (room.process.generate(asks) != before).any()


def test_positions_where_there_are_none_are_refused(room):
    table = room.table([Entry.of([3], targets=[1.0])], ())
    with pytest.raises(ConfigError) as error:
        Steer(table=table, positions=(1, 3)).prepared(room.sae.known)
    assert error.value.problem == "positions [1, 3] are named, and the hook point lies along timestep, y, x"


def test_words_are_steered_by_their_positions(bench, tiny, written):
    _, one, sae = written
    table = bench.table(sae, latents=(3,), targets=[1.0])
    _, batch = bench.read(one, "text_encoder.encoder.layers.8")
    tokens = Tokens(batch.example, batch.coords, batch.role, ("position",), {}, batch.values)
    codes = sae.encode(batch.values, check=False)
    operation = Steer(table=table, strength=2.0, positions=(1, 3)).prepared(sae.known)
    added = (dense(operation.apply(codes, tokens)) - dense(codes))[:, 3]
    at = batch.coords[:, 0]
    torch.testing.assert_close(added, ((at >= 1) & (at < 3)).float() * 2)


def test_a_ramp_where_there_is_no_time_is_refused(bench, written):
    _, _, sae = written
    with pytest.raises(ConfigError) as error:
        Steer(table=bench.table(sae), ramp="saedit").prepared(sae.known)
    assert error.value.problem == ("ramp: saedit follows the generation, and the hook point has no axis timestep")


# -- configs --------------------------------------------------------------------------------------------------------


def test_operations_are_built_from_configs(bench, room, tmp_path):
    path = tmp_path / "seven.safetensors"
    table = room.table(two_entries())
    table.save(path)
    built = EraseConfig.model_validate(
        {"table": path, "strength": -2, "weights": {"timestep": {"500": 1, "0": 0.5}}}
    ).build()
    straight = Erase(table=table, strength=-2.0, weights=(Along("timestep", {500: 1.0, 0: 0.5}),))
    assert torch.equal(room.apply(built), room.apply(straight))
    steer = SteerConfig(table=path, strength=0.5, ramp="saedit").build()
    assert (steer.strength, steer.ramp) == (0.5, "saedit")
    assert isinstance(DeactivateConfig(table=path).build(), Deactivate)
    assert json.loads(EraseConfig(table=path).model_dump_json())["type"] == "diffusion.erase"


def test_a_table_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ArtifactError, match="there is no such file"):
        EraseConfig(table=tmp_path / "no.safetensors").build()


def test_a_misspelt_field_is_refused(tmp_path):
    with pytest.raises(ValidationError):
        EraseConfig(table=tmp_path / "a", strenght=1)


def test_an_unknown_axis_of_weights_is_said(room):
    with pytest.raises(ConfigError, match="the weights name axis 'branch'"):
        Erase(table=room.table(two_entries()), weights=(Along("branch", {0: 1.0}),)).prepared(room.sae.known)
