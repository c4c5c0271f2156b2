"""Sums by latent over the transposed order of entries: gradients of weights, without atomics."""

import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders.kernels.triton.launch import columns, launch

SUMMED = 16
"""Entries of a latent summed at a time. Most latents have few, but some fire on most tokens, and one program sums them
all.
"""


def sum_by_latent(
    rows: Float[Tensor, "token group width"],
    weights: Float[Tensor, " entry"],
    order: Int[Tensor, " entry"],
    bounds: Int[Tensor, " latent+1"],
    tokens: Int[Tensor, " entry"],
    ends: Int[Tensor, " group"],
    shift: Float[Tensor, " width"],
) -> tuple[Float[Tensor, "latent width"], Float[Tensor, " latent"]]:
    """Of each latent, Σ weight · (row of the entry's token and the latent's group − shift), and Σ weight.

    Latents below `ends[p]` that no group before it holds are group p's.
    """
    latents, (_, groups, width) = bounds.shape[0] - 1, rows.shape
    each, tiles = columns(width, rows.shape[0] * groups)
    out, sums = rows.new_empty(latents, width), rows.new_empty(latents)
    launch(
        _sum_by_latent,
        (latents, tiles),
        *(rows.contiguous(), weights.contiguous(), order, bounds, tokens, ends, shift.contiguous(), out, sums, width),
        GROUPS=groups,
        ENTRIES=SUMMED,
        COLUMNS=each,
    )
    return out, sums


@triton.jit
def _sum_by_latent(
    rows: "Float[Tensor, 'token group width']",
    weights: "Float[Tensor, 'entry']",
    order: "Int[Tensor, 'entry']",
    bounds: "Int[Tensor, 'latent+1']",
    tokens: "Int[Tensor, 'entry']",
    ends: "Int[Tensor, 'group']",
    shift: "Float[Tensor, 'width']",
    out: "Float[Tensor, 'latent width']",
    sums: "Float[Tensor, 'latent']",
    width: int,
    GROUPS: tl.constexpr,
    ENTRIES: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    latent = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    group = tl.zeros((), tl.int64)
    for earlier in range(GROUPS - 1):
        group += (latent >= tl.load(ends + earlier)).to(tl.int64)
    total = tl.zeros((COLUMNS,), tl.float32)
    weighed = tl.zeros((), tl.float32)
    stop = tl.load(bounds + latent + 1)
    for first in range(tl.load(bounds + latent), stop, ENTRIES):
        at = first + tl.arange(0, ENTRIES)
        held = at < stop
        entry = tl.load(order + at, mask=held, other=0).to(tl.int64)
        weight = tl.load(weights + entry, mask=held, other=0.0)
        token = tl.load(tokens + entry, mask=held, other=0).to(tl.int64)
        place = rows + (token * GROUPS + group)[:, None] * width + column[None, :]
        tile = tl.load(place, mask=held[:, None] & inside[None, :], other=0.0)
        total += tl.sum(tile * weight[:, None], axis=0)
        weighed += tl.sum(weight, axis=0)
    total -= weighed * tl.load(shift + column, mask=inside, other=0.0)
    tl.store(out + latent * width + column, total, mask=inside)
    if tl.program_id(1) == 0:
        tl.store(sums + latent, weighed)
