"""Taking raw tensors apart into token rows and putting them together again, as a layout says."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Int, Shaped, UInt8
from torch import Tensor

from omnisae.tokens.layout import CONTENT, Layout, Segment


@dataclass(frozen=True, slots=True)
class Arranged:
    """The tokens of one raw tensor, example by example, each example's tokens in the tensor's own order.

    `example` counts within the batch; `sizes` are what the layout found, needed to restore.
    """

    values: Shaped[Tensor, "token width"]
    example: Int[Tensor, " token"]
    coords: Int[Tensor, "token axis"]
    role: UInt8[Tensor, " token"]
    sizes: dict[str, int]


def flatten(tensor: Shaped[Tensor, "..."], layout: Layout) -> Arranged:
    """Token rows of a raw tensor. Raises LayoutError where the layout does not fit it."""
    sizes = layout.fit(tuple(tensor.shape))
    parts = [
        rearrange(part, f"{_side(layout, segment)} -> {_rows(layout, segment)}", **_known(layout, segment, sizes))
        for segment, part in _split(tensor, layout, sizes)
    ]
    values = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
    examples, per_example, width = values.shape
    coords, role = _coordinates(layout, sizes, tensor.device)
    example = torch.arange(examples, device=tensor.device).repeat_interleave(per_example)
    return Arranged(values.reshape(-1, width), example, coords.repeat(examples, 1), role.repeat(examples), sizes)


def restore(values: Shaped[Tensor, "token width"], layout: Layout, sizes: dict[str, int]) -> Shaped[Tensor, "..."]:
    """The raw tensor that `flatten` took apart, from all of its rows in their order."""
    rows = values.reshape(sizes["example"], -1, values.shape[-1])
    parts, start = [], 0
    for segment in _concatenated(layout):
        stop = start + _length(layout, segment, sizes)
        back = f"{_rows(layout, segment)} -> {_side(layout, segment)}"
        parts.append(rearrange(rows[:, start:stop], back, **_known(layout, segment, sizes)))
        start = stop
    return torch.cat(parts, dim=_cat_dim(layout)) if len(parts) > 1 else parts[0]


def _cat_dim(layout: Layout) -> int:
    return next((i for i, dim in enumerate(layout.dims) if len(dim) > 1), 0)


def _concatenated(layout: Layout) -> tuple[Segment, ...]:
    """The segments in order; where nothing is concatenated, one that stands for the whole tensor."""
    dim = layout.dims[_cat_dim(layout)]
    if len(dim) > 1:
        return dim
    return next((dim for dim in layout.dims if dim[0].role != CONTENT), (Segment(()),))


def _split(tensor: Tensor, layout: Layout, sizes: dict[str, int]) -> list[tuple[Segment, Tensor]]:
    segments, dim = _concatenated(layout), _cat_dim(layout)
    if len(segments) == 1:
        return [(segments[0], tensor)]
    lengths = [_span(segment, sizes) for segment in segments]
    return list(zip(segments, tensor.split(lengths, dim=dim), strict=True))


def _span(segment: Segment, sizes: dict[str, int]) -> int:
    if segment.role != CONTENT:
        return sizes[segment.role]
    span = 1
    for name in segment.names:
        span *= sizes[name]
    return span


def _axes_beside(layout: Layout, segment: Segment) -> list[str]:
    """The names that index the tokens of a segment, in the pattern's order: a role's own name stands for its run."""
    names: list[str] = []
    for dim in layout.dims:
        chosen = segment if len(dim) > 1 else dim[0]
        names += [f"role_{chosen.role}"] if chosen.role != CONTENT else list(chosen.names)
    return [name for name in names if name not in ("example", "d")]


def _length(layout: Layout, segment: Segment, sizes: dict[str, int]) -> int:
    span = 1
    for name in _axes_beside(layout, segment):
        span *= sizes[name.removeprefix("role_")] if name.startswith("role_") else sizes[name]
    return span


def _side(layout: Layout, segment: Segment) -> str:
    """The raw tensor's side of the einops pattern, for one segment."""
    words = []
    for dim in layout.dims:
        chosen = segment if len(dim) > 1 else dim[0]
        words.append(f"role_{chosen.role}" if chosen.role != CONTENT else f"({' '.join(chosen.names)})")
    return " ".join(words)


def _rows(layout: Layout, segment: Segment) -> str:
    return f"example ({' '.join(_axes_beside(layout, segment))}) d"


def _known(layout: Layout, segment: Segment, sizes: dict[str, int]) -> dict[str, int]:
    known = {name: size for name, size in sizes.items() if name not in layout.roles}
    used = {name for dim in layout.dims for s in ((segment,) if len(dim) > 1 else dim) for name in s.names}
    roles = {f"role_{s.role}": sizes[s.role] for s in (segment,) if s.role != CONTENT}
    return {name: size for name, size in known.items() if name in used} | roles


def _coordinates(
    layout: Layout, sizes: dict[str, int], device: torch.device
) -> tuple[Int[Tensor, "token axis"], UInt8[Tensor, " token"]]:
    """Coordinates on the content axes and the role, for the tokens of one example."""
    axes, coords, roles = [axis.name for axis in layout.axes], [], []
    for segment in _concatenated(layout):
        names = _axes_beside(layout, segment)
        length = _length(layout, segment, sizes)
        block = torch.full((length, len(axes)), -1, dtype=torch.int32, device=device)
        if segment.role == CONTENT and names:
            steps = [torch.arange(sizes[name], dtype=torch.int32, device=device) for name in names]
            grid = torch.stack([g.reshape(-1) for g in torch.meshgrid(*steps, indexing="ij")], dim=1)
            block[:, [axes.index(name) for name in names]] = grid
        coords.append(block)
        roles.append(torch.full((length,), layout.roles.index(segment.role), dtype=torch.uint8, device=device))
    return torch.cat(coords), torch.cat(roles)
