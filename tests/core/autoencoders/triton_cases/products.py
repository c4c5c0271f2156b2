"""Products of codes equal PyTorch's in double precision."""

from typing import Any

import pytest
import torch
from test_products import NESTINGS
from torch import Tensor

from omnisae.autoencoders import sparse
from omnisae.autoencoders.kernels import rows
from omnisae.autoencoders.kernels.triton import launch
from omnisae.autoencoders.kernels.triton.rows import halved
from omnisae.autoencoders.kernels.triton.sampled import inner_products
from omnisae.autoencoders.nesting import Nesting
from omnisae.autoencoders.picked import Picked

TOKENS, LATENTS, WIDTH = 20, 50, 21


def entries_of(codes: Tensor, where: torch.device) -> tuple[Tensor, sparse.Entries]:
    offsets = torch.nn.functional.pad((codes != 0).sum(1).cumsum(0), (1, 0))
    values, latents = codes[codes != 0], codes.nonzero()[:, 1]
    return values.to(where), sparse.Entries.of(Picked(offsets.to(where), latents.to(where), values.to(where)), LATENTS)


@pytest.fixture
def drawn() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(TOKENS, LATENTS, generator=generator)
    codes *= torch.rand(TOKENS, LATENTS, generator=generator) < 0.3
    codes[3] = 0  # a token without entries
    codes[:, 7] = 0  # a latent without entries
    codes[:, 9] = 1.5  # a latent that fires almost always
    more = (torch.randn(count, WIDTH, generator=generator) for count in (TOKENS, LATENTS, 1))
    return dict(zip(("codes", "x", "decoder", "shift"), (codes, *more), strict=True))


@pytest.mark.parametrize("columns", [16, 512])
@pytest.mark.parametrize("nesting", NESTINGS, ids=["plain", "nested", "uneven"])
def test_reconstruction_and_its_gradients(
    nesting: Nesting, columns: int, drawn: Any, where: Any, no_plain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "COLUMNS", (columns, columns))  # 16: two tiles beside each other
    values, entries = entries_of(drawn["codes"], where)
    x, decoder, shift = (drawn[name].to(where) for name in ("x", "decoder", "shift"))
    leaves = [values.requires_grad_(), decoder.requires_grad_(), shift[0].requires_grad_()]
    result = sparse.reconstruct(leaves[0], x, leaves[2], leaves[1], entries, nesting)
    found = [result.loss, result.residual, result.square, *torch.autograd.grad(3 * result.loss, leaves)]

    codes, x, decoder, shift = (drawn[name].double() for name in ("codes", "x", "decoder", "shift"))
    leaves = [codes.requires_grad_(), decoder.requires_grad_(), shift.requires_grad_()]
    residuals = [x - shift - codes[:, :prefix] @ decoder[:prefix] for prefix in nesting.prefixes]
    loss = sum(weight * left.square().sum() for weight, left in zip(nesting.weights, residuals, strict=True))
    by_code, by_atom, by_shift = torch.autograd.grad(3 * loss, leaves)
    last = residuals[-1].detach()
    wanted = [loss, last, last.square().sum(), by_code[codes != 0], by_atom, by_shift[0]]
    for quick, slow in zip(found, wanted, strict=True):
        torch.testing.assert_close(quick.double().cpu(), slow, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("columns", [16, 512])
def test_encoder_gradients(columns: int, drawn: Any, where: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the gradient that comes in is one number, seen many times."""
    monkeypatch.setattr(launch, "COLUMNS", (columns, columns))
    values, entries = entries_of(drawn["codes"], where)
    encoder, shift = drawn["decoder"].to(where).requires_grad_(), drawn["shift"][0].to(where).requires_grad_()
    bias = torch.zeros(LATENTS, device=where, requires_grad=True)
    raw = sparse.encode_entries(values, drawn["x"].to(where), shift, encoder, bias, entries)
    for weights in (values, torch.ones_like(values)):
        grads = torch.autograd.grad((raw * weights).sum(), [encoder, bias, shift], retain_graph=True)
        weighted = drawn["codes"].double() if weights is values else (drawn["codes"] != 0).double()
        wanted = weighted.t() @ (drawn["x"] - drawn["shift"]).double()
        torch.testing.assert_close(grads[0].double().cpu(), wanted, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(grads[1].double().cpu(), weighted.sum(0), rtol=1e-5, atol=1e-4)
        by_shift = -(weighted.sum(0) @ drawn["decoder"].double())
        torch.testing.assert_close(grads[2].double().cpu(), by_shift, rtol=1e-4, atol=1e-3)
    (grads,) = torch.autograd.grad(raw.sum(), [bias])
    assert torch.equal(grads.cpu(), (drawn["codes"] != 0).sum(0).float())


@pytest.mark.parametrize("columns", [16, 512])
def test_sampled_products(columns: int, drawn: Any, where: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "COLUMNS", (columns, columns))
    _, entries = entries_of(drawn["codes"], where)
    found = inner_products(drawn["x"].to(where), drawn["decoder"].to(where), entries.offsets, entries.latents)
    wanted = (drawn["x"].double() @ drawn["decoder"].double().t())[drawn["codes"] != 0]
    torch.testing.assert_close(found.double().cpu(), wanted, rtol=1e-5, atol=1e-5)


def test_entries_and_counts(drawn: Any, where: Any) -> None:
    values, entries = entries_of(drawn["codes"], where)
    keys = entries.latents * TOKENS + entries.tokens
    assert torch.equal(entries.order, keys.argsort())
    assert torch.equal(entries.counts(values != 0).cpu(), (drawn["codes"] != 0).sum(0))
    sums = sparse.sums_by_latent(values, entries)
    torch.testing.assert_close(sums.cpu(), drawn["codes"].sum(0))


def test_rows_of_weights(drawn: Any, where: Any) -> None:
    decoder = 3 * drawn["decoder"].to(where)
    decoder[4] = 0
    decoder[5] *= 1e-20
    gradient = torch.randn(LATENTS, WIDTH, generator=torch.Generator().manual_seed(2)).to(where)
    unit = torch.nn.functional.normalize(decoder, dim=1, eps=1e-30)
    wanted = gradient - (gradient * unit).sum(1, keepdim=True) * unit
    rows.remove_parallel(gradient, decoder)
    sound = torch.arange(LATENTS, device=where) != 5  # whose squares underflow
    torch.testing.assert_close(gradient[sound], wanted[sound])
    assert gradient.isfinite().all()
    wanted = torch.nn.functional.normalize(decoder, dim=1, eps=rows.SHORTEST)
    rows.to_unit(decoder)
    torch.testing.assert_close(decoder, wanted)


def test_rows_in_bf16(drawn: Any, where: Any) -> None:
    """Triton's interpreter cuts bits off where a GPU rounds, so that the two may differ by one step."""
    decoder, shift = drawn["decoder"].to(where), drawn["shift"][0].to(where)
    half, along = halved(decoder, shift)
    torch.testing.assert_close(half.float(), decoder, rtol=2.0**-7 if where.type == "cpu" else 2.0**-8, atol=0)
    torch.testing.assert_close(along.double(), decoder.double() @ shift.double(), rtol=1e-5, atol=1e-5)
