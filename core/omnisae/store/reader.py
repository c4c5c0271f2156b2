"""An open shard: rows to addresses, with a word ahead to the kernel where the disk is what takes the time."""

import os
import time
from types import TracebackType

import numpy as np
from jaxtyping import Float32, Int, UInt8, UInt64
from torch import Tensor

from omnisae.store.faults import missing
from omnisae.store.scatter import read
from omnisae.store.shard import Rows, ShardLayout

_SLOW = 1e9
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

    def columns(
        self, start: int, stop: int
    ) -> tuple[Int[Tensor, " token"], Int[Tensor, "token axis"], UInt8[Tensor, " token"]]:
        """Example (int64), coordinates (int32) and role of the rows from `start` to `stop`. Raises StoreError."""
        return self.layout.columns(self._descriptor, start, stop)

    def scales(self, start: int, stop: int) -> Float32[Tensor, " token"] | None:
        """The scales of the rows from `start` to `stop`; None where there are none. Raises StoreError."""
        return self.layout.scales(self._descriptor, start, stop)

    def read(self, tensor: Rows, row: int, pieces: UInt64[np.ndarray, "piece 2"]) -> bool:
        """Read the pieces, which follow each other in a tensor from `row` on. True where that was slow.

        Raises StoreError where the file ends too early or cannot be read.
        """
        begin = time.perf_counter()
        size = read(self._descriptor, tensor.offset + row * tensor.row_bytes, pieces, self.layout.path)
        return size < (time.perf_counter() - begin) * _SLOW

    def announce(self, tensor: Rows, start: int, stop: int) -> None:
        """Tell the kernel that these rows will be read soon, so that the disk works while we copy."""
        if hasattr(os, "posix_fadvise") and start < stop:
            offset, size = tensor.offset + start * tensor.row_bytes, (stop - start) * tensor.row_bytes
            os.posix_fadvise(self._descriptor, offset, size, os.POSIX_FADV_WILLNEED)
