"""Reading rows of a file straight to the places in memory where they belong.

One `preadv` call takes the next rows of the file and puts each at its own address, so that shuffling costs no copy of
its own. Rows that nobody wants go to a scrap of memory, or are jumped over where they are many.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt64

from omnisae.errors import StoreError
from omnisae.store.faults import truncated

MOST = 1024
"""Pieces in one call: IOV_MAX."""

_JUMP = 1 << 17
"""Bytes of unwanted rows from which on a second call is cheaper than reading them."""


def pieces(
    rows: Int[np.ndarray, " row"], addresses: UInt64[np.ndarray, " row"], row_bytes: int
) -> UInt64[np.ndarray, "piece 2"]:
    """Runs of rows that are neighbours both in the file and in memory, as (address, bytes); address 0 is a gap."""
    breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(addresses) != np.uint64(row_bytes)))
    starts = np.concatenate([[0], breaks + 1])
    stops = np.concatenate([breaks + 1, [len(rows)]])
    out = np.zeros((2 * len(starts) - 1, 2), dtype=np.uint64)
    out[::2, 0] = addresses[starts]
    out[::2, 1] = (stops - starts) * row_bytes
    out[1::2, 1] = (rows[starts[1:]] - rows[stops[:-1] - 1] - 1) * row_bytes
    return np.ascontiguousarray(out[out[:, 1] > 0])


def read_pieces(
    descriptor: int, offset: int, plan: UInt64[np.ndarray, "piece 2"], scrap: np.ndarray, path: Path
) -> None:
    """Read consecutive pieces of a file from `offset` on, each to its address.

    Gaps go to `scrap`, which is at least as long as the longest that is not jumped over (`scrap_for`). Raises
    StoreError where the file ends too early or cannot be read.
    """
    gaps = plan[:, 0] == 0
    if gaps.any():
        plan = plan.copy()
        plan[gaps, 0] = scrap.ctypes.data
    jumps = np.flatnonzero(gaps & (plan[:, 1] >= _JUMP))
    start = 0
    for jump in [*jumps.tolist(), len(plan)]:
        for first in range(start, jump, MOST):
            offset = _read_all(descriptor, offset, plan[first : min(first + MOST, jump)], path)
        if jump < len(plan):
            offset += int(plan[jump, 1])
        start = jump + 1


def scrap_for(row_bytes: int) -> np.ndarray:
    """Memory for the rows that nobody wants."""
    return np.empty(_JUMP + row_bytes, dtype=np.uint8)


def _read_all(descriptor: int, offset: int, plan: UInt64[np.ndarray, "piece 2"], path: Path) -> int:
    """Read the pieces, going on where a call stops short; the offset after them."""
    wanted = int(plan[:, 1].sum())
    while wanted:
        got = _preadv(descriptor, plan, offset)
        if got < 0:
            code = ctypes.get_errno()
            raise StoreError(f"{path}: cannot be read: {os.strerror(code)}", "check the disk, then run again")
        if got == 0:
            raise truncated(path)
        offset += got
        wanted -= got
        if wanted:
            plan = _rest(plan, got)
    return offset


def _rest(plan: UInt64[np.ndarray, "piece 2"], got: int) -> UInt64[np.ndarray, "piece 2"]:
    ends = np.cumsum(plan[:, 1])
    first = int(np.searchsorted(ends, got, side="right"))
    rest = plan[first:].copy()
    into = got - (int(ends[first - 1]) if first else 0)
    rest[0, 0] += np.uint64(into)
    rest[0, 1] -= np.uint64(into)
    return rest


def _by_libc() -> Callable[[int, np.ndarray, int], int] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).preadv
    except (OSError, AttributeError, TypeError):
        return None
    function.restype = ctypes.c_ssize_t
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong]

    def preadv(descriptor: int, plan: np.ndarray, offset: int) -> int:
        return int(function(descriptor, plan.ctypes.data, len(plan), offset))

    return preadv


def _by_copying(descriptor: int, plan: np.ndarray, offset: int) -> int:
    """Where the C library has no preadv: one read, then a copy for each piece."""
    data = os.pread(descriptor, int(plan[:, 1].sum()), offset)
    done = 0
    for address, length in plan.tolist():
        part = data[done : done + length]
        ctypes.memmove(address, part, len(part))
        done += len(part)
    return done


_preadv = _by_libc() or _by_copying
