"""The order in which a stream visits a store: a pure function of its index, the seed, the batch and the pool."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from omnisae.store.index import Index
from omnisae.store.shuffle import BLOCKS, ROWS, gather_by_batch, permutation


@dataclass(frozen=True, slots=True)
class Pool:
    """The blocks of one pool in file order, and the order in which their kept rows come.

    The kept rows of the pool are numbered block after block; the row at position `start + j` of the endless stream is
    number `order[j]`.
    """

    blocks: Int[np.ndarray, " block"]
    start: int
    order: Int[np.ndarray, " row"]

    @property
    def stop(self) -> int:
        """The position after its last row."""
        return self.start + len(self.order)


class Schedule:
    """Epochs of pools of blocks.

    Each epoch permutes the blocks that hold kept rows and cuts them into pools of about `pool` rows: a block belongs to
    the pool in which its first row falls. The rows of a pool are permuted by a seed of their own.
    """

    def __init__(self, index: Index, batch: int, seed: int, pool: int) -> None:
        self._index, self._batch, self._seed, self._pool = index, batch, seed, pool
        self._candidates = np.flatnonzero(index.kept)
        self._epoch: tuple[int, np.ndarray, np.ndarray, np.ndarray] | None = None
        self.rows = int(index.kept.sum())

    def at(self, position: int) -> Pool:
        """The pool that holds the row at a position of the stream."""
        epoch, within = divmod(position, self.rows)
        blocks, bounds, starts = self._cut(epoch)
        number = int(np.searchsorted(starts, within, side="right")) - 1
        chosen = np.sort(blocks[bounds[number] : bounds[number + 1]])
        start = epoch * self.rows + int(starts[number])
        order = permutation(int(self._index.kept[chosen].sum()), self._seed, ROWS, epoch, number)
        return Pool(chosen, start, gather_by_batch(order, start, self._batch))

    def _cut(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Blocks of an epoch in their order, the bounds of its pools among them, and the rows before each pool."""
        cached = self._epoch
        if cached is None or cached[0] != epoch:
            blocks = self._candidates[permutation(len(self._candidates), self._seed, BLOCKS, epoch)]
            kept = self._index.kept[blocks]
            before = np.cumsum(kept) - kept
            firsts = np.flatnonzero(np.diff(before // self._pool, prepend=-1))
            cached = (epoch, blocks, np.append(firsts, len(blocks)), before[firsts])
            self._epoch = cached
        return cached[1:]
