"""Whole rows of weights, each read once: brought to bf16, kept at norm one."""

import torch
import triton
import triton.language as tl
from jaxtyping import BFloat16, Float
from torch import Tensor

from omnisae.autoencoders.kernels.triton.launch import launch, power_of_two, warps


def halved(
    rows: Float[Tensor, "row width"], shift: Float[Tensor, " width"]
) -> tuple[BFloat16[Tensor, "row width"], Float[Tensor, " row"]]:
    """The rows in bf16, to nearest, and ⟨row, shift⟩ of the rows in full."""
    out, along = torch.empty_like(rows, dtype=torch.bfloat16), rows.new_empty(len(rows))
    block = power_of_two(rows.shape[1])
    launch(_halved, (len(rows),), rows, shift, out, along, rows.shape[1], BLOCK=block, warps=warps(block))
    return out, along


def remove_parallel(gradient: Float[Tensor, "latent width"], rows: Float[Tensor, "latent width"]) -> None:
    """Take from each row of the gradient its part along the row, in place."""
    block = power_of_two(rows.shape[1])
    launch(_remove_parallel, (len(rows),), gradient, rows, rows.shape[1], BLOCK=block, warps=warps(block))


def to_unit(rows: Float[Tensor, "latent width"], floor: float) -> None:
    """Scale each row to norm one, in place; rows shorter than `floor` are divided by `floor`."""
    block = power_of_two(rows.shape[1])
    launch(_to_unit, (len(rows),), rows, rows.shape[1], floor, BLOCK=block, warps=warps(block))


@triton.jit
def _halved(
    rows: "Float[Tensor, 'row width']",
    shift: "Float[Tensor, 'width']",
    out: "BFloat16[Tensor, 'row width']",
    along: "Float[Tensor, 'row']",
    width: int,
    BLOCK: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    numbers = tl.load(rows + row * width + column, mask=inside, other=0.0)
    tl.store(out + row * width + column, numbers.to(tl.bfloat16), mask=inside)
    tl.store(along + row, tl.sum(numbers * tl.load(shift + column, mask=inside, other=0.0), axis=0))


@triton.jit
def _remove_parallel(
    gradient: "Float[Tensor, 'latent width']",
    rows: "Float[Tensor, 'latent width']",
    width: int,
    BLOCK: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    numbers = tl.load(rows + row * width + column, mask=inside, other=0.0)
    place = gradient + row * width + column
    slope = tl.load(place, mask=inside, other=0.0)
    square = tl.sum(numbers * numbers, axis=0)
    along = tl.sum(slope * numbers, axis=0) / tl.where(square > 0, square, 1.0)
    tl.store(place, slope - along * numbers, mask=inside)


@triton.jit
def _to_unit(rows: "Float[Tensor, 'latent width']", width: int, floor: float, BLOCK: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    place = rows + row * width + column
    numbers = tl.load(place, mask=inside, other=0.0)
    norm = tl.sqrt_rn(tl.sum(numbers * numbers, axis=0))
    tl.store(place, numbers / tl.maximum(norm, floor), mask=inside)
