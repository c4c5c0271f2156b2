"""The tokens of a store in the dataset's order, batch by batch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omnisae.store.buffers import Lender
from omnisae.store.index import kept_mask
from omnisae.store.packed import DTYPES, Packed
from omnisae.store.reader import Reader
from omnisae.store.scatter import in_one_place
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter

if TYPE_CHECKING:
    from omnisae.store.store import Store

_CHUNK = 16_384
"""Rows whose columns are looked at together, and of whose successors the kernel is told."""

_CACHED = 1 << 20
"""Bytes of narrow values that are widened at a time: they are still in the cache where they were just read to."""


def sequence(
    store: "Store", keep: TokenFilter, examples: Bool[np.ndarray, " example"] | None, batch: int
) -> Iterator[TokenBatch]:
    """Batches of exactly `batch` tokens (the last may be smaller), fp32.

    There is no thread to read ahead: the kernel is told what comes next, and does.
    """
    lender, values = Lender(batch, store.hook.width), _Values(store)
    memory, columns, filled = lender.take(), list[tuple[Tensor, Tensor, Tensor]](), 0
    for number in range(len(store.manifest.shards)):
        layout = store.layout(number)
        with Reader(layout) as reader:
            for start in range(0, layout.rows, _CHUNK):
                stop = min(start + _CHUNK, layout.rows)
                reader.announce(layout.values, stop, min(stop + _CHUNK, layout.rows))
                chunk, scales = reader.columns(start, stop), reader.scales(start, stop)
                kept = np.flatnonzero(kept_mask(store, keep, examples, *chunk))
                while len(kept):
                    rows, kept = kept[: batch - filled], kept[batch - filled :]
                    picked = torch.from_numpy(rows)
                    steps = None if scales is None else scales[picked]
                    values.read(reader, start + rows, steps, memory[filled : filled + len(rows)])
                    columns.append((chunk[0][picked], chunk[1][picked], chunk[2][picked]))
                    filled += len(rows)
                    if filled == batch:
                        yield _batch(lender.lend(memory), columns)
                        memory, columns, filled = lender.take(), [], 0
    if filled:
        yield _batch(lender.lend(memory, filled), columns)


class _Values:
    """Reads activations and widens them to fp32."""

    def __init__(self, store: "Store") -> None:
        dtype = DTYPES[store.manifest.dtype]
        rows = max(1, _CACHED // store.row_bytes)
        self._narrow = None if dtype == torch.float32 else torch.empty((rows, store.hook.width), dtype=dtype)

    def read(
        self,
        reader: Reader,
        rows: Int[np.ndarray, " row"],
        scale: Float[Tensor, " row"] | None,
        out: Float[Tensor, "row width"],
    ) -> None:
        """Read ascending rows into `out`."""
        if self._narrow is None:
            _read(reader, rows, out)
            return
        for start in range(0, len(rows), len(self._narrow)):
            part = rows[start : start + len(self._narrow)]
            _read(reader, part, self._narrow)
            steps = None if scale is None else scale[start : start + len(part)]
            Packed(self._narrow[: len(part)], steps).widen(out[start : start + len(part)])


def _read(reader: Reader, rows: Int[np.ndarray, " row"], out: Tensor) -> None:
    values = reader.layout.values
    reads = in_one_place(rows, out.data_ptr(), values.row_bytes)
    for i, row in enumerate(reads.row.tolist()):
        reader.read(values, row, reads.pieces_of(i))


def _batch(values: Tensor, columns: list[tuple[Tensor, Tensor, Tensor]]) -> TokenBatch:
    example, coords, role = (torch.cat(parts) for parts in zip(*columns, strict=True))
    return TokenBatch(values, example, coords, role)
