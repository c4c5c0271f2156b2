"""The shuffled stream of a store: blocks in seeded order, mixed in memory, read ahead by threads."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt64
from torch import Tensor

from omnisae.errors import StoreError
from omnisae.store.buffers import Lender, memory_for
from omnisae.store.index import BLOCK, build_index
from omnisae.store.key import content_key
from omnisae.store.reader import Reader
from omnisae.store.scatter import Reads, scattered
from omnisae.store.schedule import Schedule
from omnisae.store.shard import DTYPES
from omnisae.store.source import TokenStream
from omnisae.tokens.filter import TokenFilter

if TYPE_CHECKING:
    from omnisae.store.store import Store

_OPEN = 128
"""Reads for which shards are open at a time: pools may spread over more shards than a process may open."""


class StoreStream(TokenStream):
    """Batches of a store in shuffled order, without end.

    The row at a position of the stream is a pure function of the store, the filter, the seed, the batch and the pool;
    so the position is all there is to save. A pool is read while the one before it is handed out: the memory is that of
    two pools in the store's dtype, and a batch. Rows go straight from the file to their places in their batches.
    """

    def __init__(
        self,
        store: "Store",
        keep: TokenFilter,
        examples: Bool[np.ndarray, " example"] | None,
        *,
        batch: int,
        seed: int,
        pool: int,
    ) -> None:
        self._store, self._batch = store, batch
        self._index = build_index(store, keep, examples)
        self._schedule = Schedule(self._index, batch, seed, pool)
        self._identity = {
            "store": store.fingerprint(),
            "filter": content_key(keep),
            "examples": content_key(None if examples is None else np.packbits(examples).tobytes()),
            "tokens": self._schedule.rows,
            "batch": batch,
            "seed": seed,
            "pool": pool,
        }
        self._wide = DTYPES[store.manifest.dtype] == torch.float32
        self._row_bytes = store.row_bytes
        self._lender = Lender(batch, store.hook.width)
        self._narrow: list[Tensor] = []
        threads = min(2, os.cpu_count() or 1)
        self._lead = ThreadPoolExecutor(1, "omnisae-read")
        self._hands = ThreadPoolExecutor(threads - 1, "omnisae-read") if threads > 1 else None
        self._position, self._filled = 0, 0
        self._batches: dict[int, Tensor] = {}
        self._coming: Future[int] = self._lead.submit(self._fill, 0)

    def next(self) -> Float[Tensor, "token width"]:
        """The next batch, fp32. Raises StoreError where a shard cannot be read."""
        number = self._position // self._batch
        while self._filled < self._position + self._batch:
            self._filled = self._coming.result()
            self._coming = self._lead.submit(self._fill, self._filled)
        memory = self._batches.pop(number)
        self._position += self._batch
        if self._wide:
            return self._lender.lend(memory)
        out = self._lender.take()
        out.copy_(memory)
        self._narrow.append(memory)
        return self._lender.lend(out)

    def state(self) -> dict[str, Any]:
        """The position, as JSON, with what it is a position in."""
        return {"position": self._position, **self._identity}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved position. Raises StoreError where it was saved from a stream made otherwise."""
        differ = [name for name, value in self._identity.items() if state.get(name) != value]
        position = state.get("position")
        if differ or not isinstance(position, int) or position < 0 or position % self._batch:
            shown = "; ".join(f"{name}: {state.get(name)!r} saved, {self._identity[name]!r} now" for name in differ)
            raise StoreError(
                f"{self._store.path}: the saved position is of another stream ({shown or f'position {position!r}'})",
                "go on with the same store, filter, split, seed, batch and pool, or train afresh",
            )
        self._coming.exception()  # let the reading ahead come to its end; how it ended no longer matters
        self._position, self._filled, self._batches = position, position, {}
        self._coming = self._lead.submit(self._fill, position)

    def where(self) -> str:
        """The shards of the last batch."""
        last, stop = max(self._position - self._batch, 0), self._position
        shards: set[int] = set()
        while last < stop:
            pool = self._schedule.at(last)
            rows = pool.order[last - pool.start : stop - pool.start]
            shards |= set(np.repeat(self._index.shard[pool.blocks], self._index.kept[pool.blocks])[rows].tolist())
            last = pool.stop
        names = [self._store.manifest.shards[shard].name for shard in sorted(shards)]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f"{self._store.path}: " + (", ".join(names[:8]) + more if names else "nothing read yet")

    def _fill(self, position: int) -> int:
        """Read the pool that holds a position into its batches, from that position on; the position after the pool."""
        pool = self._schedule.at(position)
        rows, ends = self._index.rows_of(pool.blocks)
        addresses = np.zeros(len(rows), dtype=np.uint64)
        addresses[pool.order[position - pool.start :]] = self._addresses(position, pool.stop)
        if position > pool.start:  # gone before: leave them out
            wanted = addresses != 0
            ends = np.cumsum(wanted)[ends - 1]
            rows, addresses = rows[wanted], addresses[wanted]
        full = np.flatnonzero(np.diff(ends, prepend=0))
        reads = scattered(rows, addresses, self._row_bytes, ends[full])
        self._read(reads)
        return pool.stop

    def _addresses(self, start: int, stop: int) -> UInt64[np.ndarray, " row"]:
        """Where the rows at these positions of the stream belong: in their batches, for which memory is taken."""
        ramps = []
        for number in range(start // self._batch, -(-stop // self._batch)):
            if number not in self._batches:
                self._batches[number] = self._memory()
            first, last = max(start - number * self._batch, 0), min(stop - number * self._batch, self._batch)
            base = self._batches[number].data_ptr()
            ramps.append(np.arange(first, last, dtype=np.uint64) * np.uint64(self._row_bytes) + np.uint64(base))
        return np.concatenate(ramps)

    def _read(self, reads: Reads) -> None:
        """Do the reads of a pool, by all hands."""
        block = reads.row // BLOCK
        shards, rows = self._index.shard[block], self._index.start[block] + reads.row % BLOCK
        for first in range(0, len(rows), _OPEN):
            part = range(first, min(first + _OPEN, len(rows)))
            with ExitStack() as stack:
                readers = {
                    int(shard): stack.enter_context(Reader(self._store.layout(int(shard))))
                    for shard in np.unique(shards[part.start : part.stop])
                }
                jobs = [(readers[int(shards[i])], int(rows[i]), reads.pieces_of(i)) for i in part]
                if self._hands is None or len(jobs) < 4:
                    _work(jobs)
                else:
                    other = self._hands.submit(_work, jobs[1::2])
                    try:
                        _work(jobs[::2])
                    finally:
                        other.exception()
                    other.result()

    def _memory(self) -> Tensor:
        """Memory for one batch in the store's dtype."""
        if self._wide:
            return self._lender.take()
        if self._narrow:
            return self._narrow.pop()
        return memory_for(self._batch, self._store.hook.width, DTYPES[self._store.manifest.dtype])


def _work(jobs: list[tuple[Reader, int, UInt64[np.ndarray, "piece 2"]]]) -> None:
    """Do some reads in turn. Where the disk is slow, tell it of the next ones."""
    for i, (reader, row, pieces) in enumerate(jobs):
        if reader.read(row, pieces):
            for ahead, first, later in jobs[i + 1 : i + 5]:
                ahead.announce(first, first + len(later))
