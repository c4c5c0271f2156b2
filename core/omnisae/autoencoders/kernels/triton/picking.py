"""Pre-activations on a GPU: the matrix product chunk by chunk, and what is largest in it.

`exact` multiplies in fp32. `mixed` lets bf16's product propose a quarter more entries than are sought, and decides
among them by sampled products in fp32. `bf16` takes bf16's products as they are. Nothing here waits for the device.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders.kernels import plain
from omnisae.autoencoders.kernels.triton.launch import launch
from omnisae.autoencoders.kernels.triton.sampled import inner_products
from omnisae.autoencoders.kernels.triton.selection import best, group_size, peaks, row_top
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.precision import full_fp32

if TYPE_CHECKING:
    from omnisae.autoencoders.preactivations import Preactivations

GATHERED = 1024
"""Numbers of chosen groups that a program copies."""


def top(pre: "Preactivations", k: int, signed: bool) -> Picked:
    """The k largest of each token, latents ascending; exactly k entries a token, padded by what is not positive."""
    if pre.tokens == 0 or k == 0:
        return plain.nothing(pre)
    mixed = pre.precision == "mixed"
    wanted = plain.proposed(k, pre.latents) if mixed else k
    latents = torch.empty(pre.tokens, wanted, dtype=torch.int32, device=pre.device)
    values = torch.empty(pre.tokens, wanted, device=pre.device)
    for rows, product in _products(pre):
        row_top(product, pre.offset, wanted, signed, latents[rows], values[rows])
    if mixed:
        bags = torch.arange(pre.tokens + 1, device=pre.device) * wanted
        exact = inner_products(pre.x.rows, pre.encoder, bags, latents.reshape(-1)).reshape(latents.shape)
        values, latents = best(exact + pre.offset[latents], latents, k, signed)
    offsets = torch.arange(pre.tokens + 1, device=pre.device) * k
    return Picked(offsets, latents.reshape(-1).long(), values.reshape(-1))


def largest(pre: "Preactivations", count: int) -> Picked:
    """The largest of the batch: the best so far compete with the best groups of neighbouring latents of each chunk."""
    everything = pre.tokens * pre.latents
    count = min(count, everything)
    if count == 0:
        return plain.nothing(pre)
    mixed = pre.precision == "mixed"
    wanted = plain.proposed(count, everything) if mixed else count
    size = group_size(pre.latents, max(1, wanted // pre.tokens))
    across = -(-pre.latents // size)
    keys = torch.zeros(wanted, dtype=torch.int64, device=pre.device)
    values = torch.full((wanted,), -torch.inf, device=pre.device)
    for rows, product in _products(pre):
        maxima = peaks(product, pre.offset, size, signed=False).reshape(-1)
        groups = maxima.topk(min(wanted, len(maxima)), sorted=False).indices
        members = _members(product, pre.offset, groups, across, size)
        values, order = torch.cat([values, members]).topk(wanted, sorted=False)
        # where they came from: the best so far, or a member of a group
        member = order - wanted
        group = groups[(member // size).clamp(min=0)]
        latent = (group % across * size + member % size).clamp(max=pre.latents - 1)
        place = (group // across + rows.start) * pre.latents + latent
        keys = torch.where(member < 0, keys[order.clamp(max=wanted - 1)], place)
    keys, order = plain.ascending(keys, everything)
    picked = _by_token(pre, keys, values[order])
    if not mixed:
        return picked
    exact = inner_products(pre.x.rows, pre.encoder, picked.offsets, picked.latents) + pre.offset[picked.latents]
    kept, _ = plain.ascending(exact.topk(count, sorted=False).indices, wanted)
    return _by_token(pre, keys[kept], exact[kept])


def _products(pre: "Preactivations") -> Iterator[tuple[slice, Tensor]]:
    """⟨x, encoder⟩ of a few tokens at a time, in one buffer: in bf16 unless `exact`, and without the offset."""
    exact = pre.precision == "exact"
    x, encoder = (pre.x.rows, pre.encoder) if exact else (pre.x.bf16(), pre.weights.bf16())
    chunks = -(-pre.tokens // pre.chunk)
    each = -(-pre.tokens // chunks)  # chunks of one size: a small last one would read all weights for few rows
    buffer = x.new_empty(each, pre.latents)
    for start in range(0, pre.tokens, each):
        rows = slice(start, min(start + each, pre.tokens))
        out = buffer[: rows.stop - start]
        with full_fp32(pre.device):
            torch.mm(x[rows], encoder.t(), out=out)
        yield rows, out


def _by_token(pre: "Preactivations", keys: Int[Tensor, " entry"], values: Float[Tensor, " entry"]) -> Picked:
    """Entries from their ascending places in the token × latent matrix."""
    starts = torch.arange(pre.tokens + 1, device=pre.device) * pre.latents
    return Picked(torch.searchsorted(keys, starts), keys % pre.latents, values)


def _members(
    product: Float[Tensor, "row latent"],
    offset: Float[Tensor, " latent"],
    groups: Int[Tensor, " slot"],
    across: int,
    size: int,
) -> Float[Tensor, " slot*size"]:
    """All pre-activations of chosen groups of `size` latents, `across` of which make a row.

    Where a row's last group is short, minus infinity stands in.
    """
    slots, each = groups.shape[0], max(1, GATHERED // size)
    values = torch.empty(slots * size, device=offset.device)
    arguments = (product, offset, groups, values, slots, product.shape[1], across)
    launch(_gather, (-(-slots // each),), *arguments, SIZE=size, SLOTS=each)
    return values


@triton.jit
def _gather(
    product: "Float[Tensor, 'row latent']",
    offset: "Float[Tensor, 'latent']",
    groups: "Int[Tensor, 'slot']",
    values: "Float[Tensor, 'slot*size']",
    slots: int,
    width: int,
    across: int,
    SIZE: tl.constexpr,
    SLOTS: tl.constexpr,
) -> None:
    slot = tl.program_id(0).to(tl.int64) * SLOTS + tl.arange(0, SLOTS)
    held = slot < slots
    group = tl.load(groups + slot, mask=held, other=0).to(tl.int64)
    member = tl.arange(0, SIZE)[None, :]
    latent = (group % across * SIZE)[:, None] + member
    inside = held[:, None] & (latent < width)
    value = tl.load(product + (group // across * width)[:, None] + latent, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(offset + latent, mask=inside, other=0.0)
    tl.store(values + slot[:, None] * SIZE + member, tl.where(inside, value, float("-inf")), mask=held[:, None])
