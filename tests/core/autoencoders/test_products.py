"""The CPU's products equal PyTorch's in double precision."""

import pytest
import torch
from torch import Tensor

from omnisae.autoencoders import sparse
from omnisae.autoencoders.kernels import rows
from omnisae.autoencoders.nesting import Nesting
from omnisae.autoencoders.picked import Picked

TOKENS, LATENTS, WIDTH = 37, 50, 21
NESTINGS = [Nesting((50,)), Nesting((3, 20, 50), (1, 2, 3)), Nesting((1, 49, 50))]


def entries_of(codes: Tensor) -> tuple[Tensor, sparse.Entries]:
    counts = (codes != 0).sum(1)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int()
    latents = codes.nonzero()[:, 1].int()
    values = codes[codes != 0]
    return values, sparse.Entries.of(Picked(offsets, latents, values), codes.shape[1])


@pytest.fixture
def drawn() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(TOKENS, LATENTS, generator=generator)
    codes *= torch.rand(TOKENS, LATENTS, generator=generator) < 0.2
    codes[3] = 0  # a token without entries
    codes[:, 7] = 0  # a latent without entries
    more = (torch.randn(count, WIDTH, generator=generator) for count in (TOKENS, LATENTS, 1))
    return dict(zip(("codes", "x", "decoder", "shift"), (codes, *more), strict=True))


@pytest.mark.parametrize("nesting", NESTINGS, ids=["plain", "nested", "uneven"])
def test_reconstruction_and_its_gradients(nesting: Nesting, drawn: dict[str, Tensor]) -> None:
    found, wanted = {}, {}
    for dtype, out in ((torch.float32, found), (torch.float64, wanted)):
        made = {name: tensor.to(dtype) for name, tensor in drawn.items()}
        values, entries = entries_of(made["codes"])
        leaves = [values.requires_grad_(), made["decoder"].requires_grad_(), made["shift"][0].requires_grad_()]
        result = sparse.reconstruct(leaves[0], made["x"], leaves[2], leaves[1], entries, nesting)
        out["loss"], out["residual"], out["square"] = result.loss.detach(), result.residual, result.square
        out |= dict(zip(("values", "decoder", "shift"), torch.autograd.grad(3 * result.loss, leaves), strict=True))
    codes, decoder = drawn["codes"].double(), drawn["decoder"].double()
    left = drawn["x"].double() - drawn["shift"].double() - codes @ decoder
    torch.testing.assert_close(wanted["residual"], left)
    for name in found:
        torch.testing.assert_close(found[name].double(), wanted[name], rtol=1e-5, atol=1e-4, msg=name)


def test_encoder_gradients(drawn: dict[str, Tensor]) -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        made = {name: tensor.to(dtype) for name, tensor in drawn.items()}
        values, entries = entries_of(made["codes"])
        encoder, shift = made["decoder"].requires_grad_(), made["shift"][0].requires_grad_()
        bias = torch.zeros(LATENTS, dtype=dtype, requires_grad=True)
        raw = sparse.encode_entries(values, made["x"], shift, encoder, bias, entries)
        found.append(torch.autograd.grad((raw * values).sum(), [encoder, bias, shift]))
    dense = ((drawn["x"] - drawn["shift"]).double() @ drawn["decoder"].double().t()).requires_grad_()
    assert dense.shape == (TOKENS, LATENTS)
    wanted = drawn["codes"].double().t() @ (drawn["x"] - drawn["shift"]).double()
    torch.testing.assert_close(found[1][0], wanted, rtol=1e-6, atol=1e-6)
    for quick, slow in zip(*found, strict=True):
        torch.testing.assert_close(quick.double(), slow, rtol=1e-5, atol=1e-4)


def test_transposition_keeps_the_order_of_tokens(drawn: dict[str, Tensor]) -> None:
    _, entries = entries_of(drawn["codes"])
    keys = entries.latents.long() * TOKENS + entries.tokens
    assert torch.equal(entries.order.long(), keys.argsort())
    assert torch.equal(entries.bounds.diff().long(), (drawn["codes"] != 0).sum(0))


def test_rows_of_the_decoder(drawn: dict[str, Tensor]) -> None:
    decoder, gradient = 3 * drawn["decoder"], torch.randn(LATENTS, WIDTH)
    unit = torch.nn.functional.normalize(decoder, dim=1)
    wanted = gradient - (gradient * unit).sum(1, keepdim=True) * unit
    rows.remove_parallel(gradient, decoder)
    torch.testing.assert_close(gradient, wanted)
    decoder[4] = 0
    rows.to_unit(decoder)
    assert not decoder[4].any()
    torch.testing.assert_close(
        decoder, torch.nn.functional.normalize(3 * drawn["decoder"], dim=1) * (torch.arange(LATENTS) != 4)[:, None]
    )
