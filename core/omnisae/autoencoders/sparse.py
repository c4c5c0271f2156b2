"""Sparse linear algebra of codes: only the entries that fire are multiplied, forwards and backwards.

An *entry* is one non-zero of a token × latent matrix. Entries stand in the order of their tokens; their transposition
(the order by latent) makes weight gradients sums over runs. Nothing here depends on the order in which threads finish.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders.group import ALONE, Group
from omnisae.autoencoders.kernels import device, plain, products
from omnisae.autoencoders.kernels.device import constant
from omnisae.autoencoders.kernels.loops import array, fits, threads
from omnisae.autoencoders.nesting import Nesting
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.ranks import Bags


@dataclass(frozen=True, slots=True)
class Entries:
    """Where a sparse matrix has entries, by token and, transposed, by latent."""

    offsets: Int[Tensor, " token+1"]
    latents: Int[Tensor, " entry"]
    tokens: Int[Tensor, " entry"]
    order: Int[Tensor, " entry"]
    """Entries sorted by latent, and by token within a latent."""
    bounds: Int[Tensor, " latent+1"]
    """Where each latent's entries begin in `order`."""
    bags: Bags | None = None
    """Where the entries of each token are parted by rank. Latents then ascend within a bag, not within a token."""

    @staticmethod
    def of(picked: Picked, width: int, bags: Bags | None = None) -> "Entries":
        """The entries that were picked. `width` is the number of latents."""
        offsets, latents = picked.offsets, picked.latents
        if device.at_hand(latents):
            tokens, order = torch.empty_like(latents), torch.empty_like(latents)
            bounds = latents.new_empty(width + 1)
            products.transpose(*map(array, (latents, offsets, order, bounds, tokens)))
            return Entries(offsets, latents, tokens, order, bounds, bags)
        entry = torch.arange(latents.shape[0], device=latents.device)
        tokens = torch.searchsorted(offsets, entry, right=True) - 1
        keys, order = plain.ascending(latents, width)
        return Entries(
            offsets, latents, tokens, order, torch.searchsorted(keys, torch.arange(width + 1, device=keys.device)), bags
        )

    def by_bag(self, bags: Bags) -> "Entries":
        """The same entries, with every bag in a token's place."""
        return replace(self, offsets=bags.bounds, tokens=bags.of, bags=None)

    def counts(self, fires: Tensor) -> Int[Tensor, " latent"]:
        """How many of the entries for which `fires` holds belong to each latent."""
        running = F.pad(fires[self.order].cumsum(0), (1, 0))
        return running[self.bounds[1:]] - running[self.bounds[:-1]]


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """How codes reconstruct a batch.

    `loss` is the weighted sum over prefixes of Σ‖r_p‖², with a gradient. `residual` is the last prefix's r, and
    `square` its Σ‖r‖², without.
    """

    loss: Float[Tensor, ""]
    residual: Float[Tensor, "token width"]
    square: Float[Tensor, ""]


def encode_entries(
    values: Float[Tensor, " entry"],
    x: Float[Tensor, "token width"],
    shift: Float[Tensor, " width"],
    encoder: Float[Tensor, "latent width"],
    bias: Float[Tensor, " latent"],
    entries: Entries,
) -> Float[Tensor, " entry"]:
    """The picked pre-activations with a gradient to the encoder, its bias, and the shift taken from every x.

    `values` were computed when the entries were picked.
    """
    out: Tensor = _Encode.apply(values, x, shift, encoder, bias, entries)
    return out


def reconstruct(
    values: Float[Tensor, " entry"],
    x: Float[Tensor, "token width"],
    shift: Float[Tensor, " width"],
    decoder: Float[Tensor, "latent width"],
    entries: Entries,
    nesting: Nesting,
    over_latents: Group = ALONE,
) -> Reconstruction:
    """The residuals r_p = x − shift − Σ value · atom over the latents of prefix p, and their weighted squares, with a
    gradient to values, atoms and shift. Values, atoms and prefixes are of the latents held here; the sum is over those
    of all processes.
    """
    loss, residual, square = _Reconstruct.apply(values, x, shift, decoder, entries, nesting, over_latents)
    return Reconstruction(loss, residual, square)


def sums_by_latent(weights: Float[Tensor, " entry"], entries: Entries) -> Float[Tensor, " latent"]:
    """The sum of the weights of each latent's entries, without a gradient."""
    latents = len(entries.bounds) - 1
    if device.at_hand(weights):
        return torch.bincount(entries.latents, weights, minlength=latents).to(weights.dtype)
    ones = torch.ones(1, 1, dtype=weights.dtype, device=weights.device)
    return plain.weighted_rows(ones, torch.zeros_like(entries.order), entries.bounds, weights[entries.order])[:, 0]


class _Encode(torch.autograd.Function):
    """⟨x − shift, encoder[latent]⟩ + bias[latent] of every entry."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, x: Tensor, shift: Tensor, encoder: Tensor, bias: Tensor, entries: Entries
    ) -> Tensor:
        ctx.save_for_backward(x, shift, encoder)
        ctx.entries = entries
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, shift, encoder = ctx.saved_tensors
        weights, sums = _sum_by_latent(x[:, None], gradient, ctx.entries, _ends(len(encoder)), shift)
        # The shift enters every product, so that its gradient is one vector × matrix product, not a pass over entries.
        return None, None, -(sums @ encoder) if ctx.needs_input_grad[2] else None, weights, sums, None


class _Reconstruct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        x: Tensor,
        shift: Tensor,
        decoder: Tensor,
        entries: Entries,
        nesting: Nesting,
        over_latents: Group,
    ) -> tuple[Tensor, Tensor, Tensor]:
        pulls, residual, along, squares = _residuals(values, x, shift, decoder, entries, nesting, over_latents)
        ctx.save_for_backward(values, pulls, along)
        ctx.entries, ctx.prefixes, ctx.zero = entries, nesting.prefixes, torch.zeros_like(shift)
        sums = squares.sum(0)
        loss = (sums * constant(nesting.weights, sums.dtype, sums.device)).sum()
        ctx.mark_non_differentiable(residual, square := sums[-1].clone())
        return loss, residual, square

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        values, pulls, along = ctx.saved_tensors
        factor, rows, entries = -2 * gradient, pulls, ctx.entries
        if entries.bags is not None:
            rows, entries = pulls.reshape(-1, 1, pulls.shape[2]), entries.by_bag(entries.bags)
        atoms, _sums = _sum_by_latent(rows, values * factor, entries, ctx.prefixes, ctx.zero)
        shift = factor * pulls[:, 0].sum(0) if ctx.needs_input_grad[2] else None
        return along * factor, None, shift, atoms, None, None, None


def _ends(latents: int) -> tuple[int, ...]:
    return (latents,)


def _residuals(
    values: Tensor,
    x: Tensor,
    shift: Tensor,
    decoder: Tensor,
    entries: Entries,
    nesting: Nesting,
    over_latents: Group,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Σ_{q ≥ p} weight_q r_q by token and group, the last r, ⟨pull, atom⟩ of every entry, and ‖r_p‖²."""
    tokens, groups = x.shape[0], nesting.groups
    if over_latents.size == 1 and device.takes(values, x, decoder):
        from omnisae.autoencoders.kernels.triton.residuals import residuals as triton_residuals

        bags = entries.offsets if groups == 1 else _bounds(entries, nesting, tokens)
        weights = constant(nesting.weights, x.dtype, x.device)
        return triton_residuals(values, x, shift, decoder, entries.latents, bags, weights)
    if over_latents.size == 1 and fits(x, decoder):  # in one pass; with others, their sums come in between
        pulls, along, squares = (
            x.new_empty(tokens, groups, x.shape[1]),
            torch.empty_like(values),
            x.new_empty(tokens, groups),
        )
        residual = pulls[:, 0] if groups == 1 else torch.empty_like(x)
        apart = x[:0] if groups == 1 else residual
        threads()
        bags = entries.offsets if groups == 1 else _bounds(entries, nesting, tokens)
        products.reconstruct(
            *map(array, (x, shift, values, entries.latents, bags, decoder, x.new_tensor(nesting.weights))),
            *map(array, (pulls, apart, along, squares)),
        )
        return pulls, residual, along, squares
    bags, latents = _bounds(entries, nesting, tokens).long(), entries.latents.long()
    parts = over_latents.summed(plain.weighted_rows(decoder, latents, bags, values)).reshape(tokens, groups, -1)
    residuals = (x - shift)[:, None] - parts.cumsum(1)
    weighted = residuals * constant(nesting.weights, x.dtype, x.device)[:, None]
    pulls = weighted.flip(1).cumsum(1).flip(1).contiguous()
    along = plain.inner_products(pulls.reshape(tokens * groups, -1), decoder, bags, latents)
    return pulls, residuals[:, -1].contiguous(), along, residuals.square().sum(2)


def _bounds(entries: Entries, nesting: Nesting, tokens: int) -> Int[Tensor, " bag+1"]:
    """Where the entries of every token and group begin. Of prefixes: latents ascend in a token, so groups are runs."""
    if entries.bags is not None:
        return entries.bags.bounds
    if device.at_hand(entries.offsets):
        bounds = entries.offsets.new_empty(tokens * nesting.groups + 1)
        ends = torch.tensor(nesting.prefixes)
        products.runs(*map(array, (entries.latents, entries.offsets, ends, bounds)))
        return bounds
    width, where = nesting.prefixes[-1], entries.latents.device
    starts = constant((0, *nesting.prefixes[:-1]), torch.int64, where)
    keys = entries.tokens.long() * width + entries.latents
    bounds = (torch.arange(tokens, device=where)[:, None] * width + starts).reshape(-1)
    return torch.cat([torch.searchsorted(keys, bounds), entries.offsets[-1:].long()])


def _sum_by_latent(
    rows: Float[Tensor, "token group width"],
    weights: Float[Tensor, " entry"],
    entries: Entries,
    prefixes: tuple[int, ...],
    shift: Float[Tensor, " width"],
) -> tuple[Float[Tensor, "latent width"], Float[Tensor, " latent"]]:
    """Of each latent, Σ weight · (row of the entry's token and the latent's group − shift), and Σ weight."""
    latents, groups = len(entries.bounds) - 1, rows.shape[1]
    if device.takes(rows, weights):
        from omnisae.autoencoders.kernels.triton.latents import sum_by_latent

        ends = constant(prefixes, torch.int64, rows.device)
        return sum_by_latent(rows, weights, entries.order, entries.bounds, entries.tokens, ends, shift)
    if fits(rows, weights):
        out, sums = rows.new_empty(latents, rows.shape[2]), rows.new_empty(latents)
        threads()
        products.sum_by_latent(
            *map(array, (rows, weights, entries.order, entries.bounds, entries.tokens, torch.tensor(prefixes))),
            *map(array, (shift, out, sums)),
        )
        return out, sums
    order = entries.order.long()
    starts = constant((0, *prefixes[:-1]), torch.int64, rows.device)
    group = torch.searchsorted(starts, entries.latents.long(), right=True) - 1
    place = (entries.tokens.long() * groups + group)[order]
    out = plain.weighted_rows(rows.reshape(-1, rows.shape[2]), place, entries.bounds.long(), weights[order])
    sums = sums_by_latent(weights, entries)
    return out - sums[:, None] * shift, sums
