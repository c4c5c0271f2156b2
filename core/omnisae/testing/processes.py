"""Several processes of a training, played by threads of one: what they send each other goes over a table."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from omnisae.autoencoders.group import Fold, Group
from omnisae.autoencoders.shard import Shard

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds after which a thread that waits for the others gives up."""


class Table:
    """Where the threads of one group meet."""

    def __init__(self, size: int) -> None:
        self._all_here = threading.Barrier(size, timeout=PATIENCE)
        self._given = [torch.zeros(())] * size

    def exchange(self, rank: int, x: Tensor) -> Tensor:
        """What all have given, in the order of their ranks."""
        self._given[rank] = x.clone()
        self._all_here.wait()
        out = torch.stack(self._given)
        self._all_here.wait()
        return out


@dataclass(frozen=True)
class Threads(Group):
    """A group whose processes are threads."""

    table: Table = field(default_factory=lambda: Table(1))

    def _fold(self, x: Tensor, fold: Fold) -> None:
        given = self.table.exchange(self.rank, x)
        x.copy_(given.sum(0) if fold == "SUM" else given.amin(0) if fold == "MIN" else given.amax(0))

    def _gather(self, x: Tensor, out: Tensor) -> None:
        out.copy_(self.table.exchange(self.rank, x))


def together(data: int, latents: int, work: Callable[[Shard, Group], T]) -> list[T]:
    """What each of data × latents processes makes of its shard and of the group of all, in the order of their ranks.

    In double precision only: kernels in fp32 have threads of their own, which two at a time must not start.
    """
    rows, columns = [Table(latents) for _ in range(data)], [Table(data) for _ in range(latents)]
    everyone = Table(data * latents)

    def one(rank: int) -> T:
        at, part = divmod(rank, latents)
        shard = Shard(Threads(latents, part, table=rows[at]), Threads(data, at, table=columns[part]))
        return work(shard, Threads(data * latents, rank, table=everyone))

    with ThreadPoolExecutor(data * latents) as pool:
        return list(pool.map(one, range(data * latents)))
