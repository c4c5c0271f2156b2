"""Operations that act only where a concept is: Interpret-then-Deactivate's classifier, and the gates of tables."""

import numpy as np
import pytest
import torch

import omnisae_diffusion
from omnisae.errors import DatasetError
from omnisae.interventions.operation import Tokens
from omnisae.interventions.sparse import block_of, take
from omnisae.interventions.weights import Along
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.operations import Deactivate, Erase
from omnisae_diffusion.selection import itd, presence
from omnisae_diffusion.selection.entry import Entry

EVERY = tuple(range(24))


def dense(codes):
    return block_of(codes, EVERY)


# -- Interpret-then-Deactivate --------------------------------------------------------------------------------------


def classifier(bench, sae, threshold, latents=EVERY):
    gate = {"factor": -8.0, "pool": "mean", "threshold": threshold}
    return bench.table(sae, latents=latents, method="itd", facts={"gate": gate})


def test_a_shut_classifier_leaves_pictures_bit_for_bit(bench, tiny, written):
    pipe, _, sae = written
    before = tiny.draw(pipe, "a red cat", guidance_scale=1.0)
    with omnisae_diffusion.edit(pipe, sae, Deactivate(table=classifier(bench, sae, 1e9))):
        assert torch.equal(tiny.draw(pipe, "a red cat", guidance_scale=1.0), before)
    with omnisae_diffusion.edit(pipe, sae, Deactivate(table=classifier(bench, sae, 0.0))):
        assert not torch.equal(tiny.draw(pipe, "a red cat", guidance_scale=1.0), before)


def test_only_prompts_with_the_concept_are_changed_by_the_factor(bench, written):
    _, one, sae = written
    _, batch = bench.read(one, "text_encoder.encoder.layers.8")
    tokens = Tokens(batch.example, batch.coords, batch.role, ("position",), {}, batch.values)
    codes = sae.encode(batch.values, check=False)
    gate = itd.Gate(EVERY)
    errors = gate.error(batch.values, codes, sae.decode, batch.example.long(), 2, batch.role == 0)
    between = float(errors.mean())
    operation = Deactivate(table=classifier(bench, sae, between)).prepared(sae.known)
    found = dense(operation.apply(codes, tokens))
    has = (errors >= between)[batch.example.long()]
    assert has.any()
    assert not has.all()
    assert torch.equal(found[~has], dense(codes)[~has])
    inside = has & (batch.role == 0)
    torch.testing.assert_close(found[inside], -8 * dense(codes)[inside])
    assert torch.equal(found[batch.role != 0], dense(codes)[batch.role != 0]), "the token of the beginning"


def test_weights_share_out_a_deactivation(bench, written):
    _, one, sae = written
    _, batch = bench.read(one, "text_encoder.encoder.layers.8")
    tokens = Tokens(batch.example, batch.coords, batch.role, ("position",), {}, batch.values)
    codes = sae.encode(batch.values, check=False)
    weights = (Along("position", {3: 1.0}),)
    operation = Deactivate(table=classifier(bench, sae, 0.0), weights=weights).prepared(sae.known)
    found, here = dense(operation.apply(codes, tokens)), batch.coords[:, 0] == 3
    torch.testing.assert_close(found[here], -8 * dense(codes)[here])
    assert torch.equal(found[~here], dense(codes)[~here])


def test_a_table_without_a_classifier_is_said(bench, written):
    _, _, sae = written
    with pytest.raises(DatasetError) as error:
        Deactivate(table=bench.table(sae)).prepared(sae.known)
    assert error.value.problem == "the table of 'seven' (saeuron) holds no zero-shot classifier"


# -- the gate -------------------------------------------------------------------------------------------------------


def with_gate(room, weights, biases, entries=None):
    facts = {presence.FACT: [{"weights": list(weights), "bias": bias} for bias in biases]}
    entry = Entry.of(EVERY, gates=np.zeros(24), targets=np.ones(24))
    return room.table(entries or [entry] * 2, facts=facts)


def test_a_shut_gate_leaves_pictures_bit_for_bit(bench, room):
    asks, nothing = bench.labelled(), np.zeros(room.hook.width)
    before = room.process.generate(asks)
    for biases, changes in (((-1.0, -1.0), False), ((1.0, 1.0), True), ((-1.0, 1.0), True)):
        operation = Erase(table=with_gate(room, nothing, biases), strength=-3.0, gated=True)
        with omnisae_diffusion.edit(room.process, room.sae, operation):
            assert (room.process.generate(asks) != before).any() == changes
    shut = Erase(table=with_gate(room, nothing, (-1.0, -1.0)), strength=-3.0, gated=False)
    with omnisae_diffusion.edit(room.process, room.sae, shut):
        assert (room.process.generate(asks) != before).any(), "ungated, the gate is not asked"


def test_the_gate_is_told_by_an_example_s_mean_in_each_branch(guided):
    """A gate between two examples: it opens for those whose mean lies on its side, in each branch by itself."""
    rows = (guided.tokens.coords[:, 0] == 0).nonzero()[:, 0]  # one forward is one step
    codes, tokens = take(guided.codes, rows), guided.tokens.take(rows)
    groups = {(e, b): (tokens.example == e) & (tokens.coords[:, 1] == b) for e in (0, 1) for b in (0, 1)}
    means = {key: tokens.activations[mine].mean(dim=0) for key, mine in groups.items()}
    along = means[0, 1] - means[1, 1]
    middle = float(along @ (means[0, 1] + means[1, 1]) / 2)
    operation = Erase(table=with_gate(guided, along.tolist(), (-middle, -1e9)), strength=-1.0, gated=True)
    before, found = dense(codes), dense(operation.prepared(guided.sae.known).apply(codes, tokens))
    for key, mine in groups.items():
        opened = float(along @ means[key]) > middle
        assert torch.equal(found[mine], before[mine]) != opened, key
    assert torch.equal(found[groups[1, 1]], before[groups[1, 1]])
    assert not torch.equal(found[groups[0, 1]], before[groups[0, 1]])


def test_a_table_without_a_gate_is_said(room):
    entry = Entry.of([1])
    with pytest.raises(DatasetError) as error:
        Erase(table=room.table([entry] * 2), gated=True).prepared(room.sae.known)
    assert error.value.problem == "the table of 'seven' (m) holds no gate"
    assert error.value.remedy == "select it again with a gate, or set gated: false"


def test_a_picture_is_edited_by_its_own_gate_in_any_company(bench, room):
    """Whether an example is edited does not depend on what else is in the batch."""
    x, example = room.tokens.activations, room.tokens.example
    means = [x[(example == e) & (room.tokens.coords[:, 0] == 0)].mean(dim=0) for e in (0, 1)]
    along = means[0] - means[1]
    middle = float(along @ (means[0] + means[1]) / 2)
    operation = Erase(table=with_gate(room, along.tolist(), (-middle, -1e9)), strength=-3.0, gated=True)
    asks = bench.labelled()
    before = room.process.generate(asks)
    with omnisae_diffusion.edit(room.process, room.sae, operation):
        together = room.process.generate(asks)
        alone = room.process.generate([Ask(label=1, seed=1)])
    np.testing.assert_array_equal(together[1], before[1])
    assert (together[0] != before[0]).any()
    assert np.abs(alone[0].astype(int) - before[1]).max() <= 1
