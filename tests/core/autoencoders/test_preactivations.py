"""What is asked of pre-activations is what a dense matrix of them would answer."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisae.autoencoders import preactivations, proposals
from omnisae.autoencoders.operand import Operand
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.preactivations import Preactivations
from omnisae.testing.planted import planted

SHAPES = [(60, 500, 24, 7), (33, 17, 3, 17), (9, 1, 1, 1), (5, 300, 2, 250)]
PRODUCTS = ["float32", "bfloat16"]


def made(tokens: int, latents: int, width: int, seed: int = 0, precision: Any = "exact") -> Preactivations:
    generator = torch.Generator().manual_seed(seed)
    x, encoder = (torch.randn(count, width, generator=generator) for count in (tokens, latents))
    bias, shift = torch.randn(latents, generator=generator), 0.1 * torch.randn(width, generator=generator)
    return Preactivations(Operand(x), encoder, bias, shift, precision)


def dense(pre: Preactivations) -> Tensor:
    """In double precision."""
    return (pre.x.rows.double() - pre.shift.double()) @ pre.encoder.double().t() + pre.bias.double()


def matrix(picked: Picked, latents: int) -> Tensor:
    out = torch.zeros(len(picked.offsets) - 1, latents, dtype=torch.float64)
    tokens = torch.repeat_interleave(torch.arange(len(out)), picked.offsets.diff())
    out[tokens, picked.latents.long()] = picked.values.double()
    return out


def top_of(values: Tensor, k: int, signed: bool = False) -> Tensor:
    best = (values.abs() if signed else values).topk(k, dim=1).indices
    kept = torch.zeros_like(values).scatter(1, best, values.gather(1, best))
    return kept if signed else torch.relu(kept)


def check(pre: Preactivations, picked: Picked, wanted: Tensor) -> None:
    """Equal up to fp32's rounding, ascending, without zeros."""
    torch.testing.assert_close(matrix(picked, pre.latents), wanted, rtol=1e-4, atol=1e-4)
    assert (picked.values != 0).all()
    for token in range(pre.tokens):
        latents = picked.latents[picked.offsets[token] : picked.offsets[token + 1]]
        assert (latents[1:] > latents[:-1]).all()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("tokens", "latents", "width", "k"), SHAPES)
def test_top_is_that_of_the_dense_matrix(tokens: int, latents: int, width: int, k: int, signed: bool) -> None:
    pre = made(tokens, latents, width)
    check(pre, pre.top(k, signed=signed), top_of(dense(pre), k, signed))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 20), st.integers(1, 90), st.integers(1, 12), st.integers(1, 90), st.booleans(), st.integers(0, 10**6)
)
def test_top_of_any_shape(tokens: int, latents: int, width: int, k: int, signed: bool, seed: int) -> None:
    pre = made(tokens, latents, width, seed)
    check(pre, pre.top(k, signed=signed), top_of(dense(pre), min(k, latents), signed))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 150), st.floats(-3, 3), st.integers(0, 10**6))
def test_above_any_bound(tokens: int, latents: int, level: float, seed: int) -> None:
    pre = made(tokens, latents, 5, seed)
    bound = level + torch.linspace(0, 1, latents)
    values = dense(pre)
    near = (values - bound.double()).abs() < 1e-4
    found = matrix(pre.above(bound, 1), latents)
    wanted = torch.where(values > bound.double(), values, 0.0)
    torch.testing.assert_close(torch.where(near, wanted, found), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("guess", [0.0, 1e-9, 2.0, 1e9])
@pytest.mark.parametrize("uneven", [0.0, 20.0])
def test_largest_of_the_batch_whatever_the_guess(uneven: float, guess: float) -> None:
    """Also where one token needs far more than its share."""
    pre = made(50, 64, 6)
    pre.x.rows[7] *= 1 + uneven
    values = dense(pre).flatten()
    best = values.topk(100).indices
    wanted = torch.relu(torch.zeros_like(values).scatter(0, best, values[best])).reshape(50, 64)
    check(pre, pre.largest(100, guess), wanted)


def test_largest_where_too_few_are_positive() -> None:
    pre = made(10, 8, 3)
    pre.bias.fill_(-4.0)
    check(pre, pre.largest(40, 0.5), torch.relu(dense(pre)))


def test_no_tokens() -> None:
    pre = made(0, 9, 4)
    for picked in (pre.top(3), pre.above(torch.zeros(()), 2), pre.largest(0, 0.0)):
        assert picked.offsets.tolist() == [0]
        assert picked.entries == 0


def test_of_equals_the_lowest_latents_are_picked() -> None:
    encoder = torch.tensor([[1.0], [2.0], [1.0], [2.0], [1.0]])
    pre = Preactivations(Operand(torch.ones(1, 1)), encoder, torch.zeros(5), torch.zeros(1))
    assert pre.top(3).latents.tolist() == [0, 1, 3]
    assert pre.largest(4, 0.0).latents.tolist() == [0, 1, 2, 3]


def trained_like(outlier: float = 1.0, precision: Any = "exact") -> Preactivations:
    """Pre-activations with structure: an encoder of planted directions, some dimensions of outlying size."""
    x, directions = planted(64, 400, 8, 512, 0)
    x = (x - x.mean(0)) / x.std()
    x[:, 5] *= outlier
    noise = torch.randn(1600, 64, generator=torch.Generator().manual_seed(1))
    encoder = torch.nn.functional.normalize(torch.cat([directions, noise]), dim=1)
    return Preactivations(Operand(x), encoder, torch.zeros(len(encoder)), torch.zeros(64), precision)


@pytest.mark.parametrize("ask", ["top", "above", "largest"])
@pytest.mark.parametrize("outlier", [1.0, 300.0])
def test_exact_does_not_depend_on_the_product_that_proposes(
    ask: str, outlier: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    for kind in PRODUCTS:
        for module in (proposals, preactivations):
            monkeypatch.setattr(module, "product", lambda precision, kind=kind: kind)
        pre = trained_like(outlier)
        questions = {
            "top": lambda p: p.top(16),
            "above": lambda p: p.above(torch.tensor(1.5), 3),
            "largest": lambda p: p.largest(8 * p.tokens, 1.0),
        }
        answers.append(questions[ask](pre))
    first, second = answers
    assert torch.equal(first.offsets, second.offsets)
    assert torch.equal(first.latents, second.latents)
    assert torch.equal(first.values, second.values)


@pytest.mark.parametrize("precision", ["exact", "mixed"])
def test_chunks_do_not_matter(precision: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained_like(precision=precision).top(16)
    monkeypatch.setitem(preactivations.CHUNK_ELEMENTS, "cpu", 1)
    parts = trained_like(precision=precision).top(16)
    assert torch.equal(whole.latents, parts.latents)
    assert torch.equal(whole.values, parts.values)


@pytest.mark.parametrize("outlier", [1.0, 30.0, 1000.0])
def test_mixed_picks_what_fp32_picks(outlier: float) -> None:
    """At least 99.9% of picks, also where a few dimensions are far larger than the others."""
    fp32 = trained_like(outlier).top(16)
    mixed = trained_like(outlier, "mixed").top(16)
    same = (matrix(mixed, 2000) != 0) & (matrix(fp32, 2000) != 0)
    assert int(same.sum()) >= 0.999 * fp32.entries
    torch.testing.assert_close(matrix(mixed, 2000)[same], matrix(fp32, 2000)[same], rtol=0, atol=0)


@pytest.mark.parametrize(("uneven", "wanted"), [(1.0, "int8"), (1e4, "bfloat16")])
def test_int8_gives_way_where_it_proposes_too_many(uneven: float, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dimension that the encoder does not read takes all levels from those that it reads."""
    for module in (proposals, preactivations):
        monkeypatch.setattr(module, "product", lambda precision: "int8")
    asked = []
    pre = trained_like(uneven, "mixed")
    pre.encoder[:, 5] = 0
    chunks = proposals._chunks
    monkeypatch.setattr(proposals, "_chunks", lambda some, kind: asked.append(kind) or chunks(some, kind))
    picked = pre.top(16)
    assert asked[-1] == wanted
    wanted_picks = top_of(dense(pre), 16)
    assert int(((matrix(picked, 2000) != 0) & (wanted_picks != 0)).sum()) >= 0.999 * picked.entries


def test_bf16_takes_the_products_values() -> None:
    pre = trained_like(precision="bf16")
    picked = pre.top(16)
    wanted = (pre.x.rows.bfloat16() @ pre.encoder.bfloat16().t()).double()
    found = matrix(picked, 2000)
    assert (found[found != 0] == wanted[found != 0]).all()
