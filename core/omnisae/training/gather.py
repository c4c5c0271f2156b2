"""Whole tensors out of the parts that processes hold: on the first one's host, never on a device."""

from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from omnisae.autoencoders.shard import Shard

PIECE = 64 * 2**20
"""Bytes that travel at a time: what the first process's device needs room for."""


def gather(
    tensors: Mapping[str, Tensor], divided: Callable[[str], bool], latents: int, shard: Shard
) -> dict[str, Tensor]:
    """Every tensor whole, on the first process; nothing on the others. All processes must call this.

    Tensors that are `divided` hold the rows of this process's latents, and come on the host of the first process,
    piece by piece; the others are the same everywhere and stay where they are. Undivided, every process gets its own.
    """
    if not shard.divided:
        return dict(tensors)
    if shard.over_tokens.rank > 0:  # its peer of rank 0 has the same
        return {}
    made = {name: _rows(tensor, latents, shard) if divided(name) else tensor for name, tensor in tensors.items()}
    return made if shard.over_latents.rank == 0 else {}


def _rows(tensor: Tensor, latents: int, shard: Shard) -> Tensor:
    """The rows of all latents, on the first process's host."""
    group = shard.over_latents
    if group.rank > 0:
        for start in range(0, len(tensor), _step(tensor)):
            dist.send(tensor[start : start + _step(tensor)].contiguous(), group.place(0), group.handle)
        return tensor
    whole = torch.empty(latents, *tensor.shape[1:], dtype=tensor.dtype)
    whole[shard.held(latents)] = tensor.to("cpu")
    for rank in range(1, group.size):
        rows = whole[shard.held(latents, rank)]
        for start in range(0, len(rows), _step(tensor)):
            into = rows[start : start + _step(tensor)]
            piece = torch.empty_like(into, device=tensor.device)
            dist.recv(piece, group.place(rank), group.handle)
            into.copy_(piece)
    return whole


def _step(tensor: Tensor) -> int:
    """Rows that travel at a time."""
    return max(1, PIECE * len(tensor) // max(tensor.numel() * tensor.element_size(), 1)) if len(tensor) else 1
