"""What the CPU's kernels share: how they are compiled, and on how many threads they run."""

import numba
import numpy as np
import torch
from numba import njit
from torch import Tensor

FAST = {"reassoc", "contract", "nsz"}
"""What the compiler may do to sums: any order, but infinities and NaN stay what they are."""
STRICT = {"contract"}
"""For sums whose order is written out: compiled anew they must not round differently, or a resumed training would."""
BLOCK = 8
"""Rows that share one scratch buffer."""
LANES = 4
"""Rows multiplied at a time: as many streams from memory."""


def threads() -> None:
    """Run kernels on as many threads as torch's own."""
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(torch.get_num_threads(), most)))


def fits(*tensors: Tensor) -> bool:
    """Whether the CPU's kernels take these tensors: fp32 ones (others would have to be compiled anew)."""
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)


def array(tensor: Tensor) -> np.ndarray:
    """The tensor's own memory, contiguous. bf16 as its 16 bits."""
    tensor = tensor.detach().contiguous()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


@njit(fastmath=FAST, cache=True, nogil=True)
def square_of(a: np.ndarray) -> float:
    """⟨a, a⟩."""
    total: float = a.dtype.type(0)
    for j in range(a.shape[0]):
        total += a[j] * a[j]
    return total


@njit(fastmath=FAST, cache=True, nogil=True)
def dot4(
    a: np.ndarray, r0: np.ndarray, r1: np.ndarray, r2: np.ndarray, r3: np.ndarray
) -> tuple[float, float, float, float]:
    """The inner products of one vector with four rows, each summed in the same order."""
    s0 = s1 = s2 = s3 = a.dtype.type(0)
    for j in range(a.shape[0]):
        v = a[j]
        s0 += v * r0[j]
        s1 += v * r1[j]
        s2 += v * r2[j]
        s3 += v * r3[j]
    return s0, s1, s2, s3
