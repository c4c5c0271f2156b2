"""Which kernels take a tensor: Triton's on a GPU, else the CPU's own or PyTorch's operations. Imports no Triton."""

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

DEVICES = {"cuda"}
"""Kinds of device that Triton's kernels are for. Tests add the CPU, where Triton's interpreter runs them."""
OLDEST = (7, 0)
"""The first compute capability that Triton compiles for."""
SWITCH = "OMNISAE_KERNELS"
"""Set to `plain` in the environment, PyTorch's operations are used on a GPU: where no C compiler is at hand, say."""


def takes(*tensors: Tensor) -> bool:
    """Whether Triton's kernels take these tensors: fp32 ones on a GPU, where Triton is installed."""
    if not all(tensor.device.type in DEVICES and tensor.dtype == torch.float32 for tensor in tensors):
        return False
    return os.environ.get(SWITCH) != "plain" and _ready(tensors[0].device)


def at_hand(tensor: Tensor) -> bool:
    """Whether the host can look into a tensor without waiting for a device."""
    return tensor.device.type == "cpu" and "cpu" not in DEVICES


@cache
def _ready(device: torch.device) -> bool:
    if find_spec("triton") is None:
        return False
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= OLDEST


@cache
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """These numbers on a device, sent there once: sending numbers makes the host wait for the device."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
