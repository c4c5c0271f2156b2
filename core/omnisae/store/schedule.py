"""The order in which a stream visits a store: a pure function of its index, the seed, the batch and the pool."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from omnisae.store.index import Index
from omnisae.store.shuffle import BLOCKS, ROWS, gather_by_batch, permutation


@dataclass(frozen=True, slots=True)
class Pool:
    """The blocks of one pool in file order, and where their rows go.

    The rows, block after block, number `count`; row k goes to position `start + place[k]` of the endless stream.
    """

    blocks: Int[np.ndarray, " block"]
    start: int
    place: Int[np.ndarray, " row"]

    @property
    def count(self) -> int:
        """How many rows it holds."""
        return len(self.place)


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
        order, bounds, starts = self._cut(epoch)
        number = int(np.searchsorted(starts, within, side="right")) - 1
        blocks = np.sort(order[bounds[number] : bounds[number + 1]])
        start = epoch * self.rows + int(starts[number])
        rows = permutation(int(self._index.kept[blocks].sum()), self._seed, ROWS, epoch, number)
        rows = gather_by_batch(rows, start, self._batch)
        place = np.empty(len(rows), dtype=np.int64)
        place[rows] = np.arange(len(rows))
        return Pool(blocks, start, place)

    def _cut(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Blocks of an epoch in their order, the bounds of its pools among them, and the rows before each pool."""
        cached = self._epoch
        if cached is None or cached[0] != epoch:
            order = self._candidates[permutation(len(self._candidates), self._seed, BLOCKS, epoch)]
            kept = self._index.kept[order]
            before = np.cumsum(kept) - kept
            firsts = np.flatnonzero(np.diff(before // self._pool, prepend=-1))
            cached = (epoch, order, np.append(firsts, len(order)), before[firsts])
            self._epoch = cached
        return cached[1:]
