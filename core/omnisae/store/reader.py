"""An open shard: rows to addresses, with a word ahead to the kernel where the disk is what takes the time."""

import os
import time
from types import TracebackType

import numpy as np
from jaxtyping import Int, UInt64

from omnisae.store.faults import missing
from omnisae.store.scatter import pieces, read_pieces, scrap_for
from omnisae.store.shard import ShardLayout

_SLOW = 1.5e9
"""Bytes a second below which rows must have come from the disk and not from memory."""


class Reader:
    """One shard's file, open. May be used by several threads at once."""

    def __init__(self, layout: ShardLayout) -> None:
        self.layout = layout
        try:
            self._descriptor = os.open(layout.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError as error:
            raise missing(layout.path) from error

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    @property
    def descriptor(self) -> int:
        """The open file."""
        return self._descriptor

    def read(self, rows: Int[np.ndarray, " row"], addresses: UInt64[np.ndarray, " row"]) -> bool:
        """Read ascending rows, each to its address (0: nowhere). Whether the disk was slow. Raises StoreError."""
        wanted = addresses != 0
        if not wanted.all():
            rows, addresses = rows[wanted], addresses[wanted]
        if not len(rows):
            return False
        plan = pieces(rows, addresses, self.layout.row_bytes)
        begin = time.perf_counter()
        offset = self.layout.values + int(rows[0]) * self.layout.row_bytes
        read_pieces(self._descriptor, offset, plan, scrap_for(self.layout.row_bytes), self.layout.path)
        return len(rows) * self.layout.row_bytes < (time.perf_counter() - begin) * _SLOW

    def announce(self, start: int, stop: int) -> None:
        """Tell the kernel that these rows will be read soon, so that the disk works while we copy."""
        if hasattr(os, "posix_fadvise"):
            offset = self.layout.values + start * self.layout.row_bytes
            os.posix_fadvise(self._descriptor, offset, (stop - start) * self.layout.row_bytes, os.POSIX_FADV_WILLNEED)
