"""Memory that is lent out as batches and used again once nobody looks at them any more."""

import weakref

import torch
from jaxtyping import Float
from torch import Tensor


class Lender:
    """Lends tensors of one shape, fp32.

    Fresh memory costs as much as filling it (the kernel clears every page), so memory that comes back is lent again. It
    comes back when the last tensor that shares it is gone, however many views were taken: a batch that somebody keeps
    is never overwritten.
    """

    def __init__(self, rows: int, width: int) -> None:
        self._shape = (rows, width)
        self._free: list[Tensor] = []

    def take(self) -> Float[Tensor, "row width"]:
        """Memory to fill; its content is whatever was there."""
        try:
            return self._free.pop()
        except IndexError:
            return torch.empty(self._shape, dtype=torch.float32)

    def lend(self, memory: Float[Tensor, "row width"], rows: int | None = None) -> Float[Tensor, "row width"]:
        """A tensor on the (first rows of the) filled memory, to be given away."""
        # torch holds the array for as long as any tensor shares its storage; the array's end is the loan's end.
        array = memory.numpy()[:rows]
        weakref.finalize(array, self._free.append, memory).atexit = False
        return torch.from_numpy(array)
