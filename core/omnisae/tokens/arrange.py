"""Taking raw tensors apart into token rows and putting them together again, as a layout says."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from einops import rearrange
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from omnisae.tokens.layout import CONTENT, Layout, Segment


@dataclass(frozen=True, slots=True)
class Arranged:
    """The tokens of one raw tensor, example by example, each example's tokens in the tensor's own order.

    `example` counts within the batch; `sizes` are what the layout found, needed to restore. `coords` are the steps
    along the layout's axes; a special token has −1 on the axes of the content it stands beside.
    """

    values: Shaped[Tensor, "token width"]
    example: Int[Tensor, " token"]
    coords: Int[Tensor, "token axis"]
    role: UInt8[Tensor, " token"]
    sizes: dict[str, int]


def flatten(tensor: Shaped[Tensor, "..."], layout: Layout) -> Arranged:
    """Token rows of a raw tensor. Raises LayoutError where the layout does not fit it."""
    sizes = layout.fit(tuple(tensor.shape))
    blocks = _blocks(layout)
    lengths = [block.span(sizes) for block in blocks]
    parts = torch.split(tensor, lengths, dim=blocks[0].dim) if len(blocks) > 1 else (tensor,)
    rows = [
        rearrange(part, f"{block.raw} -> {block.rows}", **block.known(sizes))
        for block, part in zip(blocks, parts, strict=True)
    ]
    values = torch.cat(rows, dim=1) if len(rows) > 1 else rows[0]
    examples, per_example, width = values.shape
    coords, role = _coordinates(layout, blocks, sizes, tensor.device)
    example = torch.arange(examples, device=tensor.device).repeat_interleave(per_example)
    return Arranged(
        values.reshape(examples * per_example, width),
        example,
        coords.repeat(examples, 1),
        role.repeat(examples),
        sizes,
    )


def restore(values: Shaped[Tensor, "token width"], layout: Layout, sizes: Mapping[str, int]) -> Shaped[Tensor, "..."]:
    """The raw tensor that `flatten` took apart, from all of its rows in their order."""
    blocks = _blocks(layout)
    lengths = [block.length(sizes) for block in blocks]
    rows = values.reshape(sizes["example"], sum(lengths), values.shape[-1])
    pieces = torch.split(rows, lengths, dim=1)
    parts = [
        rearrange(piece, f"{block.rows} -> {block.raw}", **block.known(sizes))
        for block, piece in zip(blocks, pieces, strict=True)
    ]
    return torch.cat(parts, dim=blocks[0].dim) if len(parts) > 1 else parts[0]


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of the tensor whose tokens have one role: a box, which one rearrangement takes apart.

    `dim` is the dimension along which blocks are concatenated; a run of special tokens is an axis there, called after
    its role.
    """

    segment: Segment
    dim: int
    sides: tuple[tuple[str, ...], ...]

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(name for side in self.sides for name in side if name not in ("example", "d"))

    @property
    def raw(self) -> str:
        return " ".join(f"({' '.join(side)})" for side in self.sides)

    @property
    def rows(self) -> str:
        return f"example ({' '.join(self.axes)}) d"

    def known(self, sizes: Mapping[str, int]) -> dict[str, int]:
        return {name: sizes[name] for side in self.sides for name in side}

    def span(self, sizes: Mapping[str, int]) -> int:
        """How long this block is along the dimension of concatenation."""
        return prod(sizes[name] for name in self.sides[self.dim])

    def length(self, sizes: Mapping[str, int]) -> int:
        """How many tokens of one example it holds."""
        return prod(sizes[name] for name in self.axes)


def _blocks(layout: Layout) -> list[_Block]:
    """The blocks of a layout in order: one for each segment of the dimension that holds special tokens."""
    special = (i for i, dim in enumerate(layout.dims) if any(segment.role != CONTENT for segment in dim))
    at = next(special, 0)
    blocks = []
    for segment in layout.dims[at]:
        chosen = [segment if i == at else dim[0] for i, dim in enumerate(layout.dims)]
        sides = tuple(one.names if one.role == CONTENT else (one.role,) for one in chosen)
        blocks.append(_Block(segment, at, sides))
    return blocks


def _coordinates(
    layout: Layout, blocks: list[_Block], sizes: Mapping[str, int], device: torch.device
) -> tuple[Int[Tensor, "token axis"], UInt8[Tensor, " token"]]:
    """Coordinates on the layout's axes and the role, for the tokens of one example."""
    axes = [axis.name for axis in layout.axes]
    coords, roles = [], []
    for block in blocks:
        length = block.length(sizes)
        table = torch.full((length, len(axes)), -1, dtype=torch.int32, device=device)
        steps = [torch.arange(sizes[name], dtype=torch.int32, device=device) for name in block.axes]
        for name, grid in zip(block.axes, torch.meshgrid(*steps, indexing="ij") if steps else (), strict=True):
            if name in axes:
                table[:, axes.index(name)] = grid.reshape(-1)
        coords.append(table)
        roles.append(torch.full((length,), layout.roles.index(block.segment.role), dtype=torch.uint8, device=device))
    return torch.cat(coords), torch.cat(roles)
