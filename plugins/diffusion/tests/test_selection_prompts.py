"""Selections from prompts (ItD, SAEdit, Concept Steerers): slow loops over their formulas, planted concepts, edits."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.codes import Codes
from omnisae.config import AutoencoderConfig
from omnisae.errors import DatasetError
from omnisae_diffusion.selection import itd, pairs, pool, steerers

# -- Interpret-then-Deactivate -----------------------------------------------------------------------------------------


def a_linear_autoencoder(random, latents=12, width=5):
    decoder = torch.from_numpy(random.standard_normal((latents, width))).float()
    return lambda codes: codes.dense() @ decoder + 0.25, decoder


def prompts(random, count=6, length=4, latents=12):
    dense = np.where(random.random((count * length, latents)) < 0.3, random.random((count * length, latents)) + 0.1, 0)
    dense[:, 0][::length] = 9.0  # the beginning of the sequence has a loud latent of its own
    codes = Codes.from_dense(torch.from_numpy(dense).float())
    prompt = torch.arange(count).repeat_interleave(length)
    keep = torch.arange(count * length) % length > 0
    return codes, prompt, keep


def test_token_maxima_by_a_loop():
    codes, prompt, keep = prompts(np.random.default_rng(0))
    found = pool.token_max(codes, prompt, 7, keep)
    dense, want = codes.dense().numpy(), np.zeros((7, 12), dtype=np.float32)
    for token in range(len(codes)):
        for latent in range(12):
            if keep[token]:
                want[prompt[token], latent] = max(want[prompt[token], latent], dense[token, latent])
    np.testing.assert_array_equal(found.toarray(), want)
    assert not found.toarray()[:, 0].any() or found.toarray()[:, 0].max() < 9
    assert pool.token_max(codes, prompt, 6, torch.zeros(24, dtype=torch.bool)).nnz == 0


def test_itd_selects_the_concepts_latents_that_no_retained_prompt_has():
    random = np.random.default_rng(1)
    concept, retained = (csr_array(np.where(random.random(s) < 0.6, random.random(s), 0)) for s in ((2, 30), (3, 30)))
    own = concept.toarray().max(axis=0)
    order = sorted((i for i in range(30) if own[i] > 0), key=lambda i: (-own[i], i))[:8]
    gone = set()
    for row in retained.toarray():
        gone |= set(sorted((i for i in range(30) if row[i] > 0), key=lambda i: (-row[i], i))[:5])
    assert itd.select(concept, retained, 8, 5).tolist() == [i for i in order if i not in gone]
    assert 0 < len(itd.select(concept, retained, 8, 5)) < 8
    assert itd.select(concept, csr_array((0, 30)), 8).tolist() == order
    ties = csr_array(np.array([[1.0, 0, 1, 1]]))
    assert itd.top(ties, 2)[0].tolist() == [0, 2]
    assert itd.top(ties, 9)[0].tolist() == [0, 2, 3]  # a silent latent is nobody's


@pytest.mark.parametrize("how", ["mean", "max"])
def test_the_classifiers_error_by_a_loop(how):
    random = np.random.default_rng(2)
    codes, prompt, keep = prompts(random)
    decode, decoder = a_linear_autoencoder(random)
    x = decode(codes) + 0.1 * torch.from_numpy(random.standard_normal((24, 5))).float()
    gate = itd.Gate((2, 5), factor=-8.0, pool=how)
    found = gate.error(x, codes, decode, prompt, 6, keep)
    dense = codes.dense().clone()
    dense[:, [2, 5]] *= -8.0
    for number in range(6):
        each = []
        for token in range(24):
            if prompt[token] == number and keep[token]:
                rebuilt = sum(dense[token, i] * decoder[i] for i in range(12)) + 0.25
                each.append(sum(float((rebuilt - x[token])[d]) ** 2 for d in range(5)) / 5)
        want = max(each) if how == "max" else sum(each) / len(each)
        assert float(found[number]) == pytest.approx(want, rel=1e-4)
    assert float(gate.fitted(found).threshold) == pytest.approx(0.99 * float(found.min()))


def concept_and_others(random):
    """Prompts 0 to 2 fire latent 3, prompts 3 to 5 do not."""
    codes, prompt, keep = prompts(random)
    dense = codes.dense()
    dense[:, 3] = torch.where((prompt < 3) & keep, 1.0, 0.0)
    return Codes.from_dense(dense), prompt, keep


def test_prompts_without_the_concept_are_untouched_bit_for_bit():
    random = np.random.default_rng(3)
    codes, prompt, keep = concept_and_others(random)
    decode, decoder = a_linear_autoencoder(random)
    x = decode(codes) + 0.01 * torch.from_numpy(random.standard_normal((24, 5))).float()
    gate = itd.Gate((3,), pool="max")
    error = gate.error(x, codes, decode, prompt, 6, keep)
    gate = gate.fitted(error[:2])  # the third target prompt is held out
    assert gate.rates(error[2:3], error[3:]) == {"found": 1.0, "n found": 1, "mistaken": 0.0, "n mistaken": 3}
    new = itd.edited(x, codes, decode, gate, prompt, 6, keep, keep_error=False)
    assert torch.equal(new[12:], x[12:])
    assert torch.equal(new[::4], x[::4])  # the beginning of every sequence
    scaled = codes.dense()
    scaled[:, 3] *= -8
    touched = (prompt < 3) & keep
    torch.testing.assert_close(new[touched], (scaled @ decoder + 0.25)[touched])
    kept = itd.edited(x, codes, decode, gate, prompt, 6, keep, keep_error=True)
    torch.testing.assert_close(kept[touched], x[touched] - 9 * decoder[3], rtol=1e-4, atol=1e-4)


def test_without_a_threshold_every_prompt_is_edited_and_rates_of_none_are_not_known():
    random = np.random.default_rng(3)
    codes, prompt, keep = concept_and_others(random)
    decode, _ = a_linear_autoencoder(random)
    x = decode(codes) + 1
    gate = itd.Gate((3,))
    assert gate.threshold is None
    assert gate.present(torch.tensor([0.0, 1.0])).all()
    new = itd.edited(x, codes, decode, gate, prompt, 6, keep, keep_error=False)
    assert (new[keep] != x[keep]).any(dim=1).all()
    assert math.isnan(gate.rates(torch.ones(2), torch.zeros(0))["mistaken"])


def test_scaling_by_nothing_takes_the_codes_out():
    codes = Codes.from_dense(torch.tensor([[1.0, 2.0, 0.0], [0.0, 3.0, 4.0]]))
    gone = itd.scaled(codes, (1,), 0.0)
    assert (gone.values != 0).all()
    assert gone.dense().tolist() == [[1, 0, 0], [0, 0, 4]]
    assert itd.scaled(codes, (1, 2), -8.0).dense().tolist() == [[1, -16, 0], [0, -24, -32]]
    assert torch.equal(itd.scaled(codes, (), -8.0).values, codes.values)


def test_itd_refuses_empty_prompts_and_fits_of_nothing():
    codes, prompt, _ = prompts(np.random.default_rng(0))
    decode, _ = a_linear_autoencoder(np.random.default_rng(0))
    with pytest.raises(DatasetError, match="prompt 2 has no token that counts"):
        itd.Gate((1,)).error(decode(codes), codes, decode, prompt, 6, prompt != 2)
    with pytest.raises(DatasetError, match="the classifier has no target prompt to be fitted on"):
        itd.Gate((1,)).fitted(torch.zeros(0))


def test_a_gate_comes_back_from_its_table(tmp_path):
    strengths = csr_array(np.array([[0.0, 2, 0, 5], [0, 3, 0, 1]]))
    gate = itd.Gate((3, 1), factor=-6.0, pool="max", threshold=0.125)
    path = tmp_path / "nudity.safetensors"
    itd.table("nudity", gate, identity="me", hook="text", strengths=strengths).save(path)
    found = itd.LatentTable.load(path)
    assert itd.gate_of(found) == gate
    assert found.at().targets.tolist() == [5, 3]
    with pytest.raises(DatasetError, match="the table of 'smile' \\(saedit\\) holds no zero-shot classifier"):
        itd.gate_of(pairs.table("smile", np.array([0.0, 1]), identity="", hook=""))


# -- SAEdit ------------------------------------------------------------------------------------------------------------


def test_the_direction_by_a_slow_reference():
    random = np.random.default_rng(6)
    sources, targets = (np.where(random.random((5, 40)) < 0.5, random.random((5, 40)), 0) for _ in range(2))
    rows = []
    for s, t in zip(sources, targets, strict=True):
        ratio = [t[i] / (s[i] + 1e-6) for i in range(40)]
        level = np.quantile(ratio, 0.9)
        rows.append([t[i] if ratio[i] >= level else 0.0 for i in range(40)])
    matrix = np.array(rows)
    np.testing.assert_allclose(pairs.masked(sources[0], targets[0], 90), matrix[0])
    values, vectors = np.linalg.eigh(matrix.T @ matrix)  # the singular vector, another way
    want = vectors[:, -1] * np.sign(vectors[:, -1] @ matrix.mean(axis=0))
    found = pairs.direction(csr_array(sources), csr_array(targets), 90)
    np.testing.assert_allclose(found, want, atol=1e-8)
    assert np.linalg.norm(found) == pytest.approx(1)
    assert found @ matrix.mean(axis=0) > 0
    assert values[-1] > values[-2]


def test_a_planted_attribute_is_the_direction():
    """Latent 11 comes with the attribute in every pair; subjects come on both sides; noise in single targets."""
    random = np.random.default_rng(7)
    source = np.where(random.random((8, 200)) < 0.2, random.random((8, 200)), 0)
    source[:, 11] = 0
    target = source.copy()
    target[:, 11] = 1.0
    target[np.arange(8), 50 + np.arange(8)] += 0.5
    found = pairs.direction(csr_array(source), csr_array(target))
    assert found.argmax() == 11
    assert found[11] > 0.9


def test_one_pair_is_its_own_direction_and_pairs_that_are_none_are_refused():
    s, t = csr_array(np.array([[1.0, 0, 0, 1]])), csr_array(np.array([[1.0, 3, 4, 0]]))
    np.testing.assert_allclose(pairs.direction(s, t, 50), [0, 0.6, 0.8, 0])
    with pytest.raises(DatasetError, match="1 source and 2 target prompts over 4 and 4 latents do not make pairs"):
        pairs.direction(s, csr_array(np.ones((2, 4))))
    with pytest.raises(DatasetError, match="no target prompt fires a latent more than its source does"):
        pairs.direction(s, csr_array((1, 4)))


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0, 2.0])
def test_strength_is_the_papers_curve(factor):
    limit = 15 * factor
    for step in range(40):
        progress = step / 39
        want = min(math.exp(progress * limit) - 1, limit)
        assert pairs.strength(progress, factor) == pytest.approx(want)
        assert pairs.strength(progress, -factor) == -pairs.strength(progress, factor)


def test_strength_grows_with_the_factor_starts_at_nothing_and_does_not_overflow():
    assert pairs.strength(0.0, 1.0) == 0.0
    assert pairs.strength(1.0, 0.0) == 0.0
    assert pairs.strength(1.0, 1e6) == 1.5e7
    curve = [pairs.strength(0.3, factor) for factor in np.linspace(-1, 1, 41)]
    assert all(a <= b for a, b in pairwise(curve))


def test_saedit_adds_to_the_chosen_tokens_only():
    codes, along = np.ones((3, 2)), np.array([0.0, 1.0])
    found = pairs.edited(codes, np.array([False, True, False]), along, 2.0)
    assert found.tolist() == [[1, 1], [1, 3], [1, 1]]
    table = pairs.table("smile", np.array([0.0, -0.5, 0.2]), identity="", hook="")
    assert table.at().latents.tolist() == [1, 2]
    assert table.at().targets.tolist() == pytest.approx([-0.5, 0.2])


# -- Concept Steerers --------------------------------------------------------------------------------------------------


def trained(normaliser="core.none"):
    config = {"latents": 16, "activation": {"type": "core.topk", "k": 2}, "normaliser": normaliser}
    made = Autoencoder(AutoencoderConfig.model_validate(config), 6, seed=0)
    generator = torch.Generator().manual_seed(0)
    made.initialise(torch.randn(64, 6, generator=generator) * 3 + 1)
    made.requires_grad_(False)
    made.encoder_bias.data = torch.randn(16, generator=generator) * 0.1
    return made.eval()


def test_the_steering_direction_by_the_formula_with_the_rule_disabled():
    made = trained()
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    codes = steerers.unruled(made, x)
    found = steerers.direction(codes, made.decode, -0.5)
    for position in range(5):
        want = torch.zeros(6)
        for latent in range(16):
            pre = made.encoder[latent] @ (x[position] - made.decoder_bias) + made.encoder_bias[latent]
            want += -0.5 * max(float(pre), 0.0) * made.decoder[latent]
        torch.testing.assert_close(found[position], want, atol=1e-5, rtol=1e-4)
    assert int((codes.dense() > 0).sum(dim=1).max()) > 2  # more than the rule lets through


@pytest.mark.parametrize("normaliser", ["core.standard", "core.layernorm"])
def test_the_rules_own_codes_are_the_largest_of_the_unruled_ones(normaliser):
    made = trained(normaliser)
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(2)) * 3
    ruled, free = made.encode(x), steerers.unruled(made, x)
    torch.testing.assert_close(free.largest(2).dense(), ruled.dense(), atol=1e-5, rtol=1e-4)


def test_adding_the_tables_codes_adds_the_direction(tmp_path):
    made = trained("core.standard")
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(3))
    codes = steerers.unruled(made, x)
    table = steerers.table("rain", codes, identity="", hook="text")
    assert table.axis == "position"
    table.save(tmp_path / "rain.safetensors")
    table = table.load(tmp_path / "rain.safetensors")
    old = made.encode(torch.randn(3, 6)).dense()
    new = old.clone()
    for position in range(3):
        entry = table.at(position)
        new[position, torch.from_numpy(entry.latents)] += -0.5 * torch.from_numpy(entry.targets)
    change = made.decode(Codes.from_dense(new)) - made.decode(Codes.from_dense(old))
    torch.testing.assert_close(change, steerers.direction(codes, made.decode, -0.5), atol=1e-5, rtol=1e-4)


def test_steering_goes_by_position_and_turns_round_without_a_condition():
    along = torch.tensor([[1.0, 0], [0, 1]])
    x = torch.zeros(5, 2)
    position = torch.tensor([0, 1, -1, 0, 1])
    found = steerers.edited(x, position, along, torch.tensor([False, False, False, True, True]))
    assert found.tolist() == [[1, 0], [0, 1], [0, 0], [-1, 0], [0, -1]]
    assert steerers.edited(x, position, along)[3].tolist() == [1, 0]
    with pytest.raises(DatasetError, match="a token at position 2 is to be steered, and the concept's prompt has 2"):
        steerers.edited(x, position + 1, along)
