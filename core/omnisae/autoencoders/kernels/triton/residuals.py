"""Sparse decoding: what codes leave of each token, prefix by prefix, and what their losses pull at."""

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders.kernels.triton.launch import ELEMENTS, MOST_ENTRIES, columns, launch
from omnisae.autoencoders.kernels.triton.sampled import inner_products


def residuals(
    values: Float[Tensor, " entry"],
    x: Float[Tensor, "token width"],
    shift: Float[Tensor, " width"],
    decoder: Float[Tensor, "latent width"],
    latents: Int[Tensor, " entry"],
    bags: Int[Tensor, " token*group+1"],
    weights: Float[Tensor, " group"],
) -> tuple[
    Float[Tensor, "token group width"],
    Float[Tensor, "token width"],
    Float[Tensor, " entry"],
    Float[Tensor, "token group"],
]:
    """The residuals r_p = x − shift − Σ value · atom over the first p + 1 groups, and what their losses pull at.

    Gives Σ_{q ≥ p} weight_q r_q by token and group, the last r, ⟨pull of its group, atom⟩ of every entry, and ‖r_p‖².
    `bags` says where the entries of each token and group begin.
    """
    (tokens, width), groups = x.shape, weights.shape[0]
    each, tiles = columns(width, decoder.shape[0])
    pulls, squares = x.new_empty(tokens, groups, width), x.new_empty(tokens, groups, tiles)
    last = torch.empty_like(x) if groups > 1 else x.new_empty(0)
    launch(
        _residuals,
        (tokens, tiles),
        *(values.contiguous(), x.contiguous(), shift.contiguous(), decoder.contiguous(), latents, bags, weights),
        *(pulls, last, squares, width),
        GROUPS=groups,
        ENTRIES=min(MOST_ENTRIES, ELEMENTS // each),
        COLUMNS=each,
    )
    for group in range(groups - 2, -1, -1):
        pulls[:, group] += pulls[:, group + 1]
    along = inner_products(pulls.reshape(tokens * groups, width), decoder, bags, latents)
    return pulls, last if groups > 1 else pulls[:, 0], along, squares.sum(2)


@triton.jit
def _residuals(
    values: "Float[Tensor, 'entry']",
    x: "Float[Tensor, 'token width']",
    shift: "Float[Tensor, 'width']",
    decoder: "Float[Tensor, 'latent width']",
    latents: "Int[Tensor, 'entry']",
    bags: "Int[Tensor, 'token*group+1']",
    weights: "Float[Tensor, 'group']",
    pulls: "Float[Tensor, 'token group width']",
    last: "Float[Tensor, 'token width']",
    squares: "Float[Tensor, 'token group tile']",
    width: int,
    GROUPS: tl.constexpr,
    ENTRIES: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """One token's tile of columns. Writes weight_p r_p to `pulls`, to be summed from the last group to the first."""
    token = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1)
    column = tile * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    left = tl.load(x + token * width + column, mask=inside, other=0.0)
    left -= tl.load(shift + column, mask=inside, other=0.0)
    for group in range(GROUPS):
        bag = token * GROUPS + group
        stop = tl.load(bags + bag + 1)
        for first in range(tl.load(bags + bag), stop, ENTRIES):
            entry = first + tl.arange(0, ENTRIES)
            held = entry < stop
            value = tl.load(values + entry, mask=held, other=0.0)
            latent = tl.load(latents + entry, mask=held, other=0).to(tl.int64)
            place = decoder + latent[:, None] * width + column[None, :]
            atoms = tl.load(place, mask=held[:, None] & inside[None, :], other=0.0)
            left -= tl.sum(atoms * value[:, None], axis=0)
        tl.store(pulls + bag * width + column, left * tl.load(weights + group), mask=inside)
        tl.store(squares + bag * tl.num_programs(1) + tile, tl.sum(left * left, axis=0))
    if GROUPS > 1:
        tl.store(last + token * width + column, left, mask=inside)
