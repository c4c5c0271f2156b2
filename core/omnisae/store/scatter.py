"""Reading rows of a file straight to the places in memory where they belong.

One `preadv` call takes the next rows of the file and puts each at its own address, so that shuffling costs no copy of
its own. A few rows that nobody wants go to a scrap of memory; where they are many, the next call begins behind them.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt64

from omnisae.errors import StoreError
from omnisae.store.faults import truncated

MOST = 1024
"""Pieces in one call: IOV_MAX."""

JUMP = 1 << 17
"""Bytes of unwanted rows from which on a second call is cheaper than reading them."""

SCRAP = np.empty(JUMP, dtype=np.uint8)
"""Where unwanted rows go. Nobody reads it, so all threads share it."""


@dataclass(frozen=True, slots=True)
class Reads:
    """Reads of one or more files: read i takes the pieces `first[i]` to `first[i + 1]`, beginning at `row[i]`.

    A piece is an address and a length in bytes; the pieces of one read follow each other in the file.
    """

    pieces: UInt64[np.ndarray, "piece 2"]
    first: Int[np.ndarray, " read+1"]
    row: Int[np.ndarray, " read"]

    def pieces_of(self, i: int) -> UInt64[np.ndarray, "piece 2"]:
        """The pieces of one read."""
        return self.pieces[self.first[i] : self.first[i + 1]]


def scattered(
    rows: Int[np.ndarray, " row"],
    addresses: UInt64[np.ndarray, " row"],
    row_bytes: int,
    ends: Int[np.ndarray, " block"],
) -> Reads:
    """Reads of ascending rows, each to its address; none crosses one of `ends` (counted in `rows`)."""
    begins = np.concatenate([[0], ends[:-1]])
    gap = np.diff(rows, prepend=rows[0] - 1) - 1  # unwanted rows before each row
    gap[begins] = 0
    if not gap.any():
        pieces = np.empty((len(rows), 2), dtype=np.uint64)
        pieces[:, 0] = addresses
        pieces[:, 1] = row_bytes
        return Reads(pieces, np.append(begins, len(rows)), rows[begins])
    begins = np.union1d(begins, np.flatnonzero(gap * row_bytes >= JUMP))
    gap[begins] = 0
    behind = np.cumsum(gap > 0)  # gap pieces up to each row
    pieces = np.empty((len(rows) + int(behind[-1]), 2), dtype=np.uint64)
    at = np.arange(len(rows)) + behind
    pieces[at, 0] = addresses
    pieces[at, 1] = row_bytes
    gaps = np.flatnonzero(gap)
    pieces[at[gaps] - 1, 0] = SCRAP.ctypes.data
    pieces[at[gaps] - 1, 1] = gap[gaps] * row_bytes
    return Reads(pieces, np.append(at[begins], len(pieces)), rows[begins])


def in_one_place(rows: Int[np.ndarray, " row"], address: int, row_bytes: int) -> Reads:
    """Reads of ascending rows to memory where they lie side by side, from `address` on."""
    if rows[-1] - rows[0] + 1 == len(rows):
        return Reads(np.array([[address, len(rows) * row_bytes]], dtype=np.uint64), np.array([0, 1]), rows[:1])
    starts = np.concatenate([[0], np.flatnonzero(np.diff(rows) != 1) + 1])
    counts = np.diff(np.append(starts, len(rows)))
    gap = np.concatenate([[0], rows[starts[1:]] - rows[starts[1:] - 1] - 1]) * row_bytes
    pieces = np.empty((2 * len(starts), 2), dtype=np.uint64)
    pieces[::2, 0], pieces[::2, 1] = SCRAP.ctypes.data, gap
    pieces[1::2, 0], pieces[1::2, 1] = address + starts * row_bytes, counts * row_bytes
    # A read begins at the first run, behind every wide gap, and where one call cannot hold more pieces.
    begins = (gap >= JUMP) | (np.arange(len(starts)) % (MOST // 2) == 0)
    pieces[::2, 1][begins] = 0
    return Reads(pieces, np.append(np.flatnonzero(begins) * 2, len(pieces)), rows[starts[begins]])


def read(descriptor: int, offset: int, pieces: UInt64[np.ndarray, "piece 2"], path: Path) -> int:
    """One read: at most MOST pieces. Its bytes. Raises StoreError where the file ends too early or cannot be read."""
    wanted = total = int(pieces[:, 1].sum())
    while wanted:
        got = _preadv(descriptor, pieces, offset)
        if got == wanted:
            break
        if got < 0:
            code = ctypes.get_errno()
            raise StoreError(f"{path}: cannot be read: {os.strerror(code)}", "check the disk, then run again")
        if got == 0:
            raise truncated(path)
        offset += got
        wanted -= got
        pieces = _rest(pieces, got)
    return total


def _rest(pieces: UInt64[np.ndarray, "piece 2"], got: int) -> UInt64[np.ndarray, "piece 2"]:
    """What a call that stopped short has not read."""
    ends = np.cumsum(pieces[:, 1])
    first = int(np.searchsorted(ends, got, side="right"))
    rest = pieces[first:].copy()
    into = np.uint64(got) - (ends[first - 1] if first else np.uint64(0))
    rest[0, 0] += into
    rest[0, 1] -= into
    return rest


def _by_libc() -> Callable[[int, np.ndarray, int], int] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).preadv
    except (OSError, AttributeError, TypeError):
        return None
    function.restype = ctypes.c_ssize_t
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong]

    def preadv(descriptor: int, pieces: np.ndarray, offset: int) -> int:
        return int(function(descriptor, pieces.ctypes.data, len(pieces), offset))

    return preadv


def by_copying(descriptor: int, pieces: np.ndarray, offset: int) -> int:
    """Where the C library has no preadv: one read, then a copy for each piece."""
    data = os.pread(descriptor, int(pieces[:, 1].sum()), offset)
    done = 0
    for address, length in pieces.tolist():
        part = data[done : done + length]
        ctypes.memmove(address, part, len(part))
        done += len(part)
    return done


_preadv = _by_libc() or by_copying
