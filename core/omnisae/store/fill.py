"""Filling batches: the rows of a pool go straight from the shards to their places, read by threads one pool ahead."""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt64
from torch import Tensor

from omnisae.store.buffers import Lender
from omnisae.store.index import BLOCK, Index
from omnisae.store.packed import DTYPES, Packed
from omnisae.store.reader import Reader
from omnisae.store.scatter import Reads, scattered
from omnisae.store.schedule import Schedule
from omnisae.store.shard import Rows

if TYPE_CHECKING:
    from omnisae.store.store import Store

_OPEN = 128
"""Reads for which shards are open at a time: pools may spread over more shards than a process may open."""

_SCALE = torch.float32.itemsize
"""Bytes of a token's scale."""

_Job = tuple[Reader, Rows, int, UInt64[np.ndarray, "piece 2"]]
"""A read: of which shard, of which tensor, from which row on, to which places."""


class Halted(Exception):
    """The reading ahead was broken off."""


class Filler:
    """Batches of a schedule, in turn. The memory is that of two pools in the store's dtype.

    `halt` may be called by any thread, everything else by one at a time. The threads start with the first reading and
    end with `close`, or when the filler is forgotten.
    """

    def __init__(self, store: "Store", index: Index, schedule: Schedule, batch: int) -> None:
        self._store, self._index, self._schedule, self._batch = store, index, schedule, batch
        dtype = DTYPES[store.manifest.dtype]
        self._scaled = not dtype.is_floating_point
        self._lender = Lender(batch, store.hook.width, dtype)
        self._lead: ThreadPoolExecutor | None = None
        self._hands: ThreadPoolExecutor | None = None
        self._halted = threading.Event()
        self._filled = 0
        self._batches: dict[int, Packed] = {}
        self._coming: Future[int | None] | None = None

    def begin(self, position: int) -> None:
        """Read from this position of the stream on; whatever was read before is forgotten."""
        self._forget()
        self._filled = position
        self._coming = self._submit(position)

    def take(self, number: int) -> Packed:
        """A batch, by its number in the stream: the next one after the last. Raises StoreError, or Halted.

        What went wrong goes wrong again until the next `begin`.
        """
        while self._filled < (number + 1) * self._batch:
            if self._coming is None:
                self._coming = self._submit(self._filled)
            filled = self._coming.result()
            if filled is None:
                raise Halted
            self._filled = filled
            self._coming = self._submit(filled)
        packed = self._batches.pop(number)
        return Packed(self._lender.lend(packed.values), packed.scale)

    def halt(self) -> None:
        """Break off the reading ahead, for whoever waits for it too, until `begin` or `close`."""
        self._halted.set()

    def close(self, position: int) -> None:
        """End the threads. Taking the batch at `position` begins anew."""
        self._forget()
        self._filled = position
        for threads in (self._lead, self._hands):
            if threads is not None:
                threads.shutdown()
        self._lead = self._hands = None

    def _forget(self) -> None:
        self._halted.set()
        if self._coming is not None:
            self._coming.exception()  # let the read under way come to its end; how it ended no longer matters
        self._coming, self._batches = None, {}
        self._halted.clear()

    def _submit(self, position: int) -> Future[int | None]:
        if self._lead is None:
            self._lead = ThreadPoolExecutor(1, "omnisae-read")
            if (os.cpu_count() or 1) > 1:
                self._hands = ThreadPoolExecutor(1, "omnisae-read")
        return self._lead.submit(self._fill, position)

    def _fill(self, position: int) -> int | None:
        """Read the pool that holds a position into its batches, from that position on; the position after the pool.

        None where it was broken off: an exception would keep this filler alive, which keeps the exception.
        """
        pool = self._schedule.at(position)
        rows, ends = self._index.rows_of(pool.blocks)
        places, wanted = pool.order[position - pool.start :], None
        if position > pool.start:  # gone before: leave them out
            wanted = np.zeros(len(rows), dtype=bool)
            wanted[places] = True
            ends = np.cumsum(wanted)[ends - 1]
        full = ends[np.flatnonzero(np.diff(ends, prepend=0))]
        targets = self._targets(position, pool.stop)
        for i, row_bytes in enumerate([self._store.row_bytes, _SCALE] if self._scaled else [self._store.row_bytes]):
            addresses = np.zeros(len(rows), dtype=np.uint64)
            addresses[places] = _ramps([part[i] for part in targets], row_bytes)
            if wanted is None:
                self._read(scattered(rows, addresses, row_bytes, full), scale=bool(i))
            else:
                self._read(scattered(rows[wanted], addresses[wanted], row_bytes, full), scale=bool(i))
        return None if self._halted.is_set() else pool.stop

    def _targets(self, start: int, stop: int) -> list[list[Tensor]]:
        """Where the rows at these positions belong, batch by batch: parts of values and scales. Takes the memory."""
        parts = []
        for number in range(start // self._batch, -(-stop // self._batch)):
            if number not in self._batches:
                self._batches[number] = Packed(self._lender.take(), torch.empty(self._batch) if self._scaled else None)
            first, last = max(start - number * self._batch, 0), min(stop - number * self._batch, self._batch)
            part = self._batches[number].part(first, last)
            parts.append([part.values] if part.scale is None else [part.values, part.scale])
        return parts

    def _read(self, reads: Reads, scale: bool) -> None:
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
                jobs: list[_Job] = []
                for i in part:
                    reader = readers[int(shards[i])]
                    tensor = reader.layout.scale if scale else reader.layout.values
                    if tensor is not None:
                        jobs.append((reader, tensor, int(rows[i]), reads.pieces_of(i)))
                if self._hands is None or len(jobs) < 4:
                    self._work(jobs)
                else:
                    other = self._hands.submit(self._work, jobs[1::2])
                    try:
                        self._work(jobs[::2])
                    finally:
                        other.exception()
                    other.result()

    def _work(self, jobs: list[_Job]) -> None:
        """Do some reads in turn. Where the disk is slow, tell it of the next ones."""
        for i, (reader, tensor, row, pieces) in enumerate(jobs):
            if self._halted.is_set():
                return
            if reader.read(tensor, row, pieces):
                for ahead, its, first, later in jobs[i + 1 : i + 5]:
                    ahead.announce(its, first, first + len(later))


def _ramps(targets: list[Tensor], row_bytes: int) -> UInt64[np.ndarray, " row"]:
    """The addresses of the rows of several tensors, one after the other."""
    return np.concatenate(
        [np.arange(len(t), dtype=np.uint64) * np.uint64(row_bytes) + np.uint64(t.data_ptr()) for t in targets]
    )
