"""The k largest of each row, exactly: of equals the lowest latents, in ascending order.

A row is cut into groups of neighbouring latents. The k groups with the largest maxima (of equals the first) hold the k
largest entries: each of them has an entry that beats all entries of every other group. So a row is read once for the
maxima, which fit into one program's registers, and then only k groups of it.
"""

import math

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int32
from torch import Tensor

from omnisae.autoencoders.kernels import plain
from omnisae.autoencoders.kernels.triton.keys import LEAST, keys, largest
from omnisae.autoencoders.kernels.triton.launch import ELEMENTS, launch, power_of_two, warps

WHOLE = 4096
"""Rows up to this length are looked at in one piece."""
MEMBERS = 8192
"""Members of groups that one program can decide among: more need over 64 KiB to be passed between its threads."""
MOST_GROUPS = 16_384
"""Groups that one program can hold in its registers."""


def row_top(
    product: Float[Tensor, "row latent"],
    offset: Float[Tensor, " latent"],
    k: int,
    signed: bool,
    latents: Int32[Tensor, "row k"],
    values: Float[Tensor, "row k"],
) -> None:
    """Write the k largest of each row of `product + offset` (in magnitude where `signed`), and their latents."""
    rows, width = product.shape
    size = group_size(width, k) if width > WHOLE else 1
    groups = -(-width // size)
    slots = min(k, groups) if size > 1 else width
    block = power_of_two(slots) * size
    if block > MEMBERS or groups > MOST_GROUPS:  # a k of thousands
        found, places = plain.row_top(product.float() + offset, k, signed)
        latents.copy_(places)
        values.copy_(found)
        return
    chosen = latents
    if size > 1:
        held = power_of_two(groups)
        chosen = torch.empty(rows, slots, dtype=torch.int32, device=product.device)
        maxima = peaks(product, offset, size, signed)
        launch(_winners, (rows,), maxima, chosen, groups, slots, BLOCK=held, warps=warps(held))
    launch(
        _decide,
        (rows,),
        *(product, offset, chosen, latents, values, slots, width, k),
        SIZE=size,
        BLOCK=block,
        SIGNED=signed,
        NAMED=size > 1,
        PACKED=False,
        warps=warps(2 * block),
    )


def best(
    candidates: Float[Tensor, "row candidate"], names: Int32[Tensor, "row candidate"], k: int, signed: bool
) -> tuple[Float[Tensor, "row k"], Int32[Tensor, "row k"]]:
    """The k largest of each row's candidates (in magnitude where `signed`), and the latents that they belong to."""
    rows, slots = candidates.shape
    block = power_of_two(slots)
    if block > MEMBERS:
        values, places = plain.row_top(candidates, k, signed)
        return values, names.gather(1, places)
    values, latents = candidates.new_empty(rows, k), names.new_empty(rows, k)
    launch(
        _decide,
        (rows,),
        *(candidates, candidates, names, latents, values, slots, torch.iinfo(torch.int32).max, k),
        SIZE=1,
        BLOCK=block,
        SIGNED=signed,
        NAMED=True,
        PACKED=True,
        warps=warps(2 * block),
    )
    return values, latents


def peaks(
    product: Float[Tensor, "row latent"], offset: Float[Tensor, " latent"], size: int, signed: bool
) -> Int32[Tensor, "row group"]:
    """The largest of every `size` neighbouring latents of `product + offset`, as ordered integers."""
    rows, width = product.shape
    groups = -(-width // size)
    out = torch.empty(rows, groups, dtype=torch.int32, device=product.device)
    each = min(max(1, ELEMENTS // size), power_of_two(groups))
    launch(
        _peaks,
        (rows, -(-groups // each)),
        *(product, offset, out, width, groups),
        SIZE=size,
        GROUPS=each,
        SIGNED=signed,
    )
    return out


def group_size(latents: int, k: int) -> int:
    """Latents in a group: a power of two that makes no fewer groups than k groups have members."""
    return 1 << max(0, int(math.log2(latents / power_of_two(k)))) // 2


@triton.jit
def _peaks(
    product: "Float[Tensor, 'row latent']",
    offset: "Float[Tensor, 'latent']",
    out: "Int32[Tensor, 'row group']",
    width: int,
    groups: int,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    SIGNED: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    latent = group[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    held = latent < width
    value = tl.load(product + row * width + latent, mask=held, other=0.0).to(tl.float32)
    value += tl.load(offset + latent, mask=held, other=0.0)
    ordered = tl.where(held, keys(value, SIGNED), LEAST)
    tl.store(out + row * groups + group, tl.max(ordered, axis=1), mask=group < groups)


@triton.jit
def _winners(
    maxima: "Int32[Tensor, 'row group']", out: "Int32[Tensor, 'row k']", groups: int, count: int, BLOCK: tl.constexpr
) -> None:
    """The groups with the `count` largest maxima, ascending."""
    row = tl.program_id(0).to(tl.int64)
    group = tl.arange(0, BLOCK)
    keep = largest(tl.load(maxima + row * groups + group, mask=group < groups, other=LEAST), count)
    tl.store(out + row * count + tl.cumsum(keep.to(tl.int32), axis=0) - 1, group, mask=keep)


@triton.jit
def _decide(
    values: "Float[Tensor, 'row ...']",
    offset: "Float[Tensor, 'latent']",
    names: "Int32[Tensor, 'row slot']",
    latents: "Int32[Tensor, 'row k']",
    kept: "Float[Tensor, 'row k']",
    slots: int,
    width: int,
    count: int,
    SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
    SIGNED: tl.constexpr,
    NAMED: tl.constexpr,
    PACKED: tl.constexpr,
) -> None:
    """The `count` largest among the members of `slots` groups of SIZE latents, latents ascending.

    Slot s is group `names[row, s]` where NAMED, else group s. Where PACKED, slot s has one value, `values[row, s]`;
    else a row has all `width` latents' products, which lack the offset.
    """
    row = tl.program_id(0).to(tl.int64)
    member = tl.arange(0, BLOCK)
    slot = member // SIZE
    held = slot < slots
    group = slot
    if NAMED:
        group = tl.load(names + row * slots + slot, mask=held, other=0)
    latent = group * SIZE + member % SIZE
    if PACKED:
        value = tl.load(values + row * slots + slot, mask=held, other=0.0)
    else:
        held = held & (latent < width)
        value = tl.load(values + row * width + latent, mask=held, other=0.0).to(tl.float32)
        value += tl.load(offset + latent, mask=held, other=0.0)
    keep = largest(tl.where(held, keys(value, SIGNED), LEAST), count)
    place = tl.cumsum(keep.to(tl.int32), axis=0) - 1
    tl.store(latents + row * count + place, latent, mask=keep)
    tl.store(kept + row * count + place, value, mask=keep)
