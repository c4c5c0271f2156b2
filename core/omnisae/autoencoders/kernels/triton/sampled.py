"""Sampled products: of a product of matrices, only the entries that are asked for."""

import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders.kernels.triton.launch import ELEMENTS, MOST_ENTRIES, columns, launch


def inner_products(
    left: Float[Tensor, "bag width"],
    right: Float[Tensor, "latent width"],
    offsets: Int[Tensor, " bag+1"],
    latents: Int[Tensor, " entry"],
) -> Float[Tensor, " entry"]:
    """⟨left[bag], right[latent]⟩ of every entry."""
    bags, width = left.shape
    each, tiles = columns(width, right.shape[0])
    parts = left.new_empty(tiles, latents.shape[0])
    launch(
        _inner_products,
        (bags, tiles),
        *(left.contiguous(), right.contiguous(), offsets, latents, parts, width, latents.shape[0]),
        ENTRIES=min(MOST_ENTRIES, ELEMENTS // each),
        COLUMNS=each,
    )
    return parts[0] if tiles == 1 else parts.sum(0)


@triton.jit
def _inner_products(
    left: "Float[Tensor, 'bag width']",
    right: "Float[Tensor, 'latent width']",
    offsets: "Int[Tensor, 'bag+1']",
    latents: "Int[Tensor, 'entry']",
    parts: "Float[Tensor, 'tile entry']",
    width: int,
    entries: int,
    ENTRIES: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    bag = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1).to(tl.int64)
    column = tile * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    row = tl.load(left + bag * width + column, mask=inside, other=0.0)
    stop = tl.load(offsets + bag + 1)
    for first in range(tl.load(offsets + bag), stop, ENTRIES):
        entry = first + tl.arange(0, ENTRIES)
        held = entry < stop
        latent = tl.load(latents + entry, mask=held, other=0).to(tl.int64)
        place = right + latent[:, None] * width + column[None, :]
        rows = tl.load(place, mask=held[:, None] & inside[None, :], other=0.0)
        tl.store(parts + tile * entries + entry, tl.sum(rows * row[None, :], axis=1), mask=held)
