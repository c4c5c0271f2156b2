"""A spool: tokens that come step by step and are wanted example by example, kept on disk meanwhile."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from omnisae.atomic import disk
from omnisae.errors import StoreError
from omnisae.lock import lives
from omnisae.tokens.batch import TokenBatch


@contextmanager
def spool(beside: Path) -> Iterator["Spool"]:
    """A spool in a folder of its own within `beside`, gone at the end of the block. Raises as `disk` does."""
    with disk(beside):
        folder = tempfile.TemporaryDirectory(prefix=f".spool.{os.getpid()}.", dir=beside, ignore_cleanup_errors=True)
    with folder as name:
        with disk(beside):
            file = open(Path(name) / "parts", "wb+", buffering=0)  # noqa: SIM115  closed by the next line's block
        with file:
            yield Spool(file)


def sweep(beside: Path) -> None:
    """Remove the spools that killed processes left."""
    for folder in beside.glob(".spool.*"):
        pid = folder.name.split(".")[2]
        if pid.isdigit() and not lives(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


class Spool:
    """Parts of one batch of examples, each in the order of the examples; about one part is in memory at a time.

    One file holds, part after part, the bytes of values, coordinates and roles; how many tokens each example has in
    each part is kept in memory.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._end = file, 0
        self._parts: list[_Part] = []

    def add(self, part: TokenBatch) -> None:
        """Keep a part. Raises StoreError where its examples do not ascend, or the disk is full."""
        if not len(part):
            return
        example = part.example.cpu()
        if bool((example[1:] < example[:-1]).any()):
            raise StoreError(
                f"part {len(self._parts)} of a batch has its examples out of order",
                "give each part in the order of `rows`",
            )
        # Copies: what torch gives is cut out of memory for as many numbers as there are tokens.
        rows, counts = (found.clone() for found in torch.unique_consecutive(example, return_counts=True))
        columns = []
        with disk(Path(self._file.name)):
            for tensor in (part.values, part.coords, part.role):
                columns.append(_Column(self._end, tensor.dtype, tuple(tensor.shape[1:])))
                self._end += _write(self._file, tensor)
        stops = torch.cat([torch.zeros_like(counts[:1]), counts.cumsum(0)])
        self._parts.append(_Part(rows, counts, stops, *columns))

    def by_example(self) -> Iterator[TokenBatch]:
        """All that was kept, in ascending order of examples, each example's tokens in the order in which they came;
        about as many tokens at a time as one part holds. Where there are more parts than examples, an example's tokens
        come in several batches, one after the other."""
        if not self._parts:
            return
        rows = torch.unique(torch.cat([part.rows for part in self._parts]))
        for some in rows.split(max(1, len(rows) // len(self._parts))):
            for begin in range(0, len(self._parts), len(rows)):
                batch = self._joined(self._parts[begin : begin + len(rows)], int(some[0]), int(some[-1]))
                if len(batch):
                    yield batch

    def _joined(self, parts: Sequence["_Part"], first: int, last: int) -> TokenBatch:
        pieces = [self._piece(part, first, last) for part in parts]
        joined = TokenBatch(*(torch.cat(column) for column in zip(*pieces, strict=True)))
        return joined.take(joined.example.argsort(stable=True))

    def _piece(self, part: "_Part", first: int, last: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Values, examples, coordinates and roles of a part's examples from `first` to `last`."""
        a, b = int(torch.searchsorted(part.rows, first)), int(torch.searchsorted(part.rows, last, right=True))
        example = part.rows[a:b].repeat_interleave(part.counts[a:b])
        start, stop = int(part.stops[a]), int(part.stops[b])
        values, coords, role = (
            _read(self._file, column, start, stop) for column in (part.values, part.coords, part.role)
        )
        return values, example, coords, role


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a part's tensor begins in the file; its dtype and the shape of a token's share."""

    offset: int
    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """The examples of a part, how many tokens each has in it, where these begin and end, and where they lie."""

    rows: Tensor
    counts: Tensor
    stops: Tensor
    values: _Column
    coords: _Column
    role: _Column


def _write(file: BinaryIO, tensor: Tensor) -> int:
    """All of a tensor's bytes, at the file's end: one call may write a part only. How many they are."""
    if not tensor.numel():
        return 0
    left = memoryview(tensor.cpu().contiguous().view(torch.uint8).numpy().data).cast("B")
    size = len(left)
    while left:
        left = left[file.write(left) :]
    return size


def _read(file: BinaryIO, column: _Column, start: int, stop: int) -> Tensor:
    """The tokens of a column from `start` to `stop`."""
    found = torch.empty((stop - start, *column.shape), dtype=column.dtype)
    if not found.numel():
        return found
    left = memoryview(found.view(torch.uint8).numpy().data).cast("B")
    at = column.offset + start * (len(left) // (stop - start))
    while left:
        got = os.preadv(file.fileno(), [left], at)
        if not got:
            raise StoreError(f"{file.name} has become shorter", "leave the store's folder alone while it is written")
        left, at = left[got:], at + got
    return found
