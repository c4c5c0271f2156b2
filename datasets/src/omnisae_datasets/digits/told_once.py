"""A DiT whose label is told to its first block alone.

diffusers' DiT tells every block the label anew, each by a table of its own. Then what one block says of the label is
said again by the next, and no edit between them takes it away. Here the other tables hold one row, that of no label, so
that the label must travel from block to block as part of the activations.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from omnisae_datasets.digits.pictures import NULL


@contextmanager
def told_once(model: nn.Module) -> Iterator[None]:
    """Within the block, all blocks but the first hear no label."""
    with ExitStack() as stack:
        for block in _blocks(model)[1:]:
            handle = block.norm1.emb.register_forward_pre_hook(_unlabelled, with_kwargs=True)
            stack.callback(handle.remove)
        yield


@torch.no_grad()
def settled(model: nn.Module) -> nn.Module:
    """The model with the row of no label in every place of the tables of all blocks but the first."""
    for block in _blocks(model)[1:]:
        table = block.norm1.emb.class_embedder.embedding_table.weight
        table.copy_(table[NULL].expand_as(table))
    return model


def _blocks(model: nn.Module) -> Any:
    return model.transformer_blocks


def _unlabelled(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    timestep, labels, *rest = args
    return (timestep, torch.full_like(labels, NULL), *rest), kwargs
