"""The shuffled stream of a store: blocks in seeded order, mixed in memory, read ahead by threads."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnisae.errors import StoreError
from omnisae.store.buffers import Lender
from omnisae.store.index import build_index
from omnisae.store.key import content_key
from omnisae.store.reader import Reader
from omnisae.store.schedule import Pool, Schedule
from omnisae.store.shard import DTYPES
from omnisae.store.source import TokenStream
from omnisae.tokens.filter import TokenFilter

if TYPE_CHECKING:
    from omnisae.store.store import Store

_OPEN_BLOCKS = 128
"""Blocks whose shards are open at a time: pools may spread over more shards than a process may open."""


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
            lands = (pool.start + pool.place >= last) & (pool.start + pool.place < stop)
            shards |= set(np.repeat(self._index.shard[pool.blocks], self._index.kept[pool.blocks])[lands].tolist())
            last = pool.start + pool.count
        names = [self._store.manifest.shards[shard].name for shard in sorted(shards)]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f"{self._store.path}: " + (", ".join(names[:8]) + more if names else "nothing read yet")

    def _fill(self, position: int) -> int:
        """Read the pool that holds a position into its batches, from that position on; the position after the pool."""
        pool = self._schedule.at(position)
        stop = pool.start + pool.count
        numbers = range(position // self._batch, -(-stop // self._batch))
        for number in numbers:
            if number not in self._batches:
                self._batches[number] = self._memory()
        bases = np.array([self._batches[number].data_ptr() for number in numbers], dtype=np.uint64)
        places = pool.start + pool.place
        addresses = bases[np.maximum(places // self._batch - numbers[0], 0)]
        addresses += (places % self._batch * self._row_bytes).astype(np.uint64)
        addresses[places < position] = 0
        self._read(pool, addresses)
        return stop

    def _read(self, pool: Pool, addresses: np.ndarray) -> None:
        """Read the rows of a pool to their addresses, by all hands."""
        ends = np.cumsum(self._index.kept[pool.blocks])
        for first in range(0, len(pool.blocks), _OPEN_BLOCKS):
            jobs = [
                (int(pool.blocks[i]), addresses[ends[i] - self._index.kept[pool.blocks[i]] : ends[i]])
                for i in range(first, min(first + _OPEN_BLOCKS, len(pool.blocks)))
            ]
            with ExitStack() as stack:
                shards = sorted({int(self._index.shard[block]) for block, _ in jobs})
                readers = {shard: stack.enter_context(Reader(self._store.layout(shard))) for shard in shards}
                if self._hands is None or len(jobs) < 4:
                    self._read_jobs(jobs, readers)
                else:
                    other = self._hands.submit(self._read_jobs, jobs[1::2], readers)
                    try:
                        self._read_jobs(jobs[::2], readers)
                    finally:
                        other.exception()
                    other.result()

    def _read_jobs(self, jobs: list[tuple[int, np.ndarray]], readers: dict[int, Reader]) -> None:
        for i, (block, addresses) in enumerate(jobs):
            reader = readers[int(self._index.shard[block])]
            slow = reader.read(self._index.rows_of(block), addresses)
            if slow and i + 1 < len(jobs):
                for ahead, _ in jobs[i + 1 : i + 4]:
                    start = int(self._index.start[ahead])
                    readers[int(self._index.shard[ahead])].announce(start, start + int(self._index.rows[ahead]))

    def _memory(self) -> Tensor:
        """Memory for one batch in the store's dtype."""
        if self._wide:
            return self._lender.take()
        if self._narrow:
            return self._narrow.pop()
        return torch.empty((self._batch, self._store.hook.width), dtype=DTYPES[self._store.manifest.dtype])
