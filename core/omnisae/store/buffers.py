"""Memory that is lent out as batches and used again once nobody looks at them any more."""

import mmap
import weakref
from contextlib import suppress

import torch
from jaxtyping import Shaped
from torch import Tensor

_HUGE = 2 << 20
"""Bytes of a huge page."""


def memory_for(rows: int, width: int, dtype: torch.dtype) -> Shaped[Tensor, "row width"]:
    """Memory to fill, on huge pages where the system has them: it is faster to write scattered rows there."""
    size = rows * width * dtype.itemsize
    if size < 2 * _HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty((rows, width), dtype=dtype)
    pages = mmap.mmap(-1, size + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # small pages do as well, if slower
        pages.madvise(mmap.MADV_HUGEPAGE)
    whole = torch.frombuffer(pages, dtype=torch.uint8)
    start = -whole.data_ptr() % _HUGE
    return whole[start : start + size].view(dtype).view(rows, width)


class Lender:
    """Lends tensors of one shape and dtype.

    Fresh memory costs as much as filling it (the kernel clears every page), so memory that comes back is lent again. It
    comes back when the last tensor that shares it is gone, however many views were taken: a batch that somebody keeps
    is never overwritten.
    """

    def __init__(self, rows: int, width: int, dtype: torch.dtype = torch.float32) -> None:
        self._rows, self._width, self._dtype = rows, width, dtype
        self._free: list[Tensor] = []

    def take(self) -> Shaped[Tensor, "row width"]:
        """Memory to fill; its content is whatever was there."""
        try:
            return self._free.pop()
        except IndexError:
            return memory_for(self._rows, self._width, self._dtype)

    def lend(self, memory: Shaped[Tensor, "row width"], rows: int | None = None) -> Shaped[Tensor, "row width"]:
        """A tensor on the (first rows of the) filled memory, to be given away."""
        # torch holds the array for as long as any tensor shares its storage; the array's end is the loan's end.
        array = memory.view(torch.uint8).numpy()[:rows]  # numpy has no bf16
        weakref.finalize(array, self._free.append, memory).atexit = False
        return torch.from_numpy(array).view(self._dtype)
