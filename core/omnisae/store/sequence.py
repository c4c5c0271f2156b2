"""The tokens of a store in the dataset's order, batch by batch, read ahead by a thread."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from omnisae.store.buffers import Lender
from omnisae.store.index import kept_mask
from omnisae.store.reader import Reader
from omnisae.store.scatter import in_one_place
from omnisae.store.shard import DTYPES
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter

if TYPE_CHECKING:
    from omnisae.store.store import Store

_CHUNK = 16_384
"""Rows whose columns are looked at together."""


def sequence(
    store: "Store", keep: TokenFilter, examples: Bool[np.ndarray, " example"] | None, batch: int
) -> Iterator[TokenBatch]:
    """Batches of exactly `batch` tokens (the last may be smaller), fp32; one is read while the one before is used."""
    wide, narrow = Lender(batch, store.hook.width), _Narrow(store, batch)
    memories: Lender | _Narrow = wide if DTYPES[store.manifest.dtype] == torch.float32 else narrow
    batches = _batches(store, keep, examples, batch, memories)
    with closing(batches), ThreadPoolExecutor(1, "omnisae-read") as thread:
        coming = thread.submit(next, batches, None)
        while (found := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            rows = len(found.example)
            memory = found.values
            if memories is narrow:
                memory = wide.take()
                memory[:rows].copy_(found.values[:rows])
                narrow.give(found.values)
            yield TokenBatch(wide.lend(memory, rows), found.example, found.coords, found.role)


class _Narrow:
    """Memory for batches in the store's dtype, which nobody outside sees."""

    def __init__(self, store: "Store", batch: int) -> None:
        self._shape, self._dtype = (batch, store.hook.width), DTYPES[store.manifest.dtype]
        self._free: list[Tensor] = []

    def take(self) -> Tensor:
        return self._free.pop() if self._free else torch.empty(self._shape, dtype=self._dtype)

    def give(self, memory: Tensor) -> None:
        self._free.append(memory)


def _batches(
    store: "Store",
    keep: TokenFilter,
    examples: Bool[np.ndarray, " example"] | None,
    batch: int,
    memories: Lender | _Narrow,
) -> Generator[TokenBatch, None, None]:
    """Batches whose values stand in the first rows of memory that is taken for them, in the store's dtype."""
    memory, columns, filled = memories.take(), list[tuple[Tensor, Tensor, Tensor]](), 0
    for number in range(len(store.manifest.shards)):
        layout = store.layout(number)
        with Reader(layout) as reader:
            for start in range(0, layout.rows, _CHUNK):
                stop = min(start + _CHUNK, layout.rows)
                reader.announce(stop, min(stop + _CHUNK, layout.rows))
                chunk = reader.columns(start, stop)
                kept = np.flatnonzero(kept_mask(store, keep, examples, *chunk))
                while len(kept):
                    rows, kept = kept[: batch - filled], kept[batch - filled :]
                    reads = in_one_place(start + rows, memory.data_ptr() + filled * layout.row_bytes, layout.row_bytes)
                    for i, row in enumerate(reads.row.tolist()):
                        reader.read(row, reads.pieces_of(i))
                    picked = torch.from_numpy(rows)
                    columns.append((chunk[0][picked], chunk[1][picked], chunk[2][picked]))
                    filled += len(rows)
                    if filled == batch:
                        yield _joined(memory, columns)
                        memory, columns, filled = memories.take(), [], 0
    if filled:
        yield _joined(memory, columns)


def _joined(memory: Tensor, columns: list[tuple[Tensor, Tensor, Tensor]]) -> TokenBatch:
    example, coords, role = (torch.cat(parts) for parts in zip(*columns, strict=True))
    return TokenBatch(memory, example, coords, role)
