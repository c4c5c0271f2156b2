"""What every contestant can do."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

SAMPLE = 16_384
"""Rows that a contestant may look at before its first step: as many as `omnisae train` does."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Rows put back together from their codes: x̂, which latents fired on any row, and how often latents fired."""

    x_hat: Tensor
    fired: Tensor
    active: int

    @classmethod
    def of(cls, x_hat: Tensor, codes: Tensor) -> "Reconstruction":
        """From a dense matrix of codes."""
        firing = codes != 0
        return cls(x_hat, firing.any(dim=0), int(firing.sum()))


class Contestant(ABC):
    """A training under way."""

    def __init__(self, *packages: str) -> None:
        self.versions = {name: version(name) for name in ("torch", *packages)}

    @abstractmethod
    def train(self, batches: Iterator[Tensor]) -> None:
        """Train on batches until the iterator raises Finished."""

    def reconstruct(self, x: Tensor) -> Reconstruction:
        """Rows through the autoencoder as it is now."""
        raise NotImplementedError

    def directions(self) -> Tensor:
        """The decoder's rows, one a latent."""
        raise NotImplementedError

    def kept(self) -> tuple[list[Tensor], list[Tensor]]:
        """What training must keep: the tensors of the model, and those of the optimiser."""
        return [], []


def held(model: nn.Module, optimisers: Iterable[torch.optim.Optimizer]) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors of a module and of its optimisers."""
    weights = [*model.parameters(), *model.buffers()]
    states: list[dict[str, Any]] = [state for one in optimisers for state in one.state.values()]
    return weights, [value for state in states for value in state.values() if isinstance(value, Tensor)]
