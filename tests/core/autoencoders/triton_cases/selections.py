"""What is picked is what a dense matrix in full precision would answer; of equals the lowest."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisae.autoencoders.kernels import device
from omnisae.autoencoders.kernels.triton import picking, selection
from omnisae.autoencoders.operand import Operand
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.preactivations import Preactivations


def first_largest(values: Tensor, k: int, signed: bool) -> Tensor:
    """The columns of the k largest of each row, ascending; of equals the lowest."""
    order = (values.abs() if signed else values).sort(dim=1, descending=True, stable=True).indices
    return order[:, :k].sort(dim=1).values


def row_top(product: Tensor, offset: Tensor, k: int, signed: bool) -> tuple[Tensor, Tensor]:
    latents = torch.full((len(product), k), -1, dtype=torch.int32, device=product.device)
    values = torch.full((len(product), k), torch.nan, device=product.device)
    selection.row_top(product, offset, k, signed, latents, values)
    return latents.long(), values


@pytest.mark.parametrize("whole", [1, 4096])
@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 4),
    width=st.integers(1, 150),
    k=st.integers(1, 150),
    levels=st.sampled_from([1, 2, 20, 10**6]),
    signed=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 10**6),
)
def test_rows_of_any_shape(
    whole: int, rows: int, width: int, k: int, levels: int, signed: bool, dtype: torch.dtype, seed: int
) -> None:
    """Also with many ties, and fewer positive entries than k."""
    where = torch.device(next(iter(device.DEVICES)))
    generator = torch.Generator().manual_seed(seed)
    product = (torch.randn(rows, width, generator=generator) * levels).round().to(dtype) / levels
    offset = (torch.randn(width, generator=generator) - 1).round()
    k = min(k, width)
    before, selection.WHOLE = selection.WHOLE, whole  # 1: in groups, as wide rows are
    try:
        latents, values = row_top(product.to(where), offset.to(where), k, signed)
    finally:
        selection.WHOLE = before
    wanted = first_largest(product.float() + offset, k, signed)
    assert torch.equal(latents.cpu(), wanted)
    assert torch.equal(values.cpu(), (product.float() + offset).gather(1, wanted))


@pytest.mark.parametrize("whole", [1, 4096])
@pytest.mark.parametrize("signed", [False, True])
def test_numbers_that_are_none(whole: int, signed: bool, where: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN comes first, whatever its sign, so that it is found; minus infinity comes last."""
    monkeypatch.setattr(selection, "WHOLE", whole)
    product = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    product[0, 30] = torch.nan
    product[1, 31] = -torch.tensor(torch.nan)
    product[2] = -torch.inf
    product[2, [4, 39]] = torch.tensor([-1.0, torch.inf])
    latents, values = row_top(product.to(where), torch.zeros(40, device=where), 3, signed)
    assert 30 in latents[0]
    assert 31 in latents[1]
    assert torch.equal(values.isnan().sum(1).cpu(), torch.tensor([1, 1, 0]))
    assert latents[2].tolist() == ([0, 1, 2] if signed else [0, 4, 39])


def test_wide_rows(where: Any) -> None:
    """As they are cut in earnest, with a last group that is short."""
    generator = torch.Generator().manual_seed(1)
    product = torch.randn(2, 10_007, generator=generator)
    offset = torch.randn(10_007, generator=generator)
    latents, values = row_top(product.to(where), offset.to(where), 70, False)
    wanted = first_largest(product + offset, 70, False)
    assert torch.equal(latents.cpu(), wanted)
    assert torch.equal(values.cpu(), (product + offset).gather(1, wanted))


def test_more_than_a_program_can_hold(where: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MEMBERS", 16)
    product = torch.randn(2, 90, generator=torch.Generator().manual_seed(1)).to(where)
    latents, _ = row_top(product, torch.zeros(90, device=where), 40, False)
    assert torch.equal(latents, first_largest(product, 40, False))


def made(where: torch.device, precision: Any, *, tokens: int = 12) -> Preactivations:
    latents, width = 40, 16
    generator = torch.Generator().manual_seed(5)
    x, encoder = (torch.randn(count, width, generator=generator) for count in (tokens, latents))
    bias, shift = torch.randn(latents, generator=generator), 0.1 * torch.randn(width, generator=generator)
    x, encoder, bias, shift = (tensor.to(where) for tensor in (x, encoder, bias, shift))
    pre = Preactivations(Operand(x), encoder, bias, shift, precision)
    pre.chunk = 5
    return pre


def dense(pre: Preactivations) -> Tensor:
    """In double precision; in `bf16`, the rounded product of the rounded matrices."""
    x, encoder = pre.x.rows.double(), pre.encoder.double()
    product = (pre.x.bf16() @ pre.weights.bf16().t()).double() if pre.precision == "bf16" else x @ encoder.t()
    return (product + (pre.bias.double() - encoder @ pre.shift.double())).cpu()


def matrix(picked: Picked, latents: int) -> Tensor:
    counts = picked.offsets.diff().cpu()
    out = torch.zeros(len(counts), latents, dtype=torch.float64)
    out[torch.repeat_interleave(torch.arange(len(counts)), counts), picked.latents.cpu()] = picked.values.double().cpu()
    return out


@pytest.mark.parametrize("whole", [1, 4096])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("precision", ["exact", "mixed", "bf16"])
def test_top(
    precision: Any, signed: bool, whole: int, where: Any, no_plain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "WHOLE", whole)
    pre = made(where, precision)
    values = dense(pre)
    latents = first_largest(values, 6, signed)
    picked = pre.top(6, signed=signed)
    assert torch.equal(picked.offsets.cpu(), torch.arange(13) * 6)
    assert torch.equal(picked.latents.reshape(12, 6).cpu(), latents)
    found = picked.values.reshape(12, 6).double().cpu()
    torch.testing.assert_close(found, values.gather(1, latents), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 60, 300, 480, 1000])
@pytest.mark.parametrize("precision", ["exact", "mixed", "bf16"])
def test_largest(precision: Any, count: int, where: Any, no_plain: None) -> None:
    """Also where a token needs far more than its share, and all there are."""
    pre = made(where, precision)
    pre.x.rows[7] *= 5
    values = dense(pre).flatten()
    best = values.topk(min(count, 480)).indices
    picked = pre.largest(count, 0.0)
    assert picked.entries == min(count, 480)
    wanted = torch.zeros_like(values).scatter(0, best, values[best]).reshape(12, 40)
    torch.testing.assert_close(matrix(picked, 40), wanted, rtol=1e-5, atol=1e-5)
    keys = torch.searchsorted(picked.offsets, torch.arange(picked.entries, device=where), right=True) * 40
    assert ((keys + picked.latents).diff() > 0).all()


def test_no_tokens(where: Any) -> None:
    pre = made(where, "exact", tokens=0)
    for picked in (picking.top(pre, 3, False), picking.largest(pre, 0), picking.top(made(where, "exact"), 0, False)):
        assert picked.entries == 0
