"""Precision modes of the encoder's product, and which narrow product this machine multiplies fast."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch

Precision = Literal["exact", "mixed", "bf16"]
Product = Literal["float32", "bfloat16", "int8"]


@cache
def product(precision: Precision) -> Product:
    """The product that proposes latents on this machine's CPU.

    In `exact`, a bf16 product whose rounding is bounded proposes all latents that could be fp32's; in `mixed` an int8
    product (or bf16's) proposes all that are likely to be; fp32 decides in both. Where the processor multiplies such
    numbers no faster, fp32 itself proposes. What `exact` picks does not depend on this choice.
    """
    cpu = torch.cpu
    wide_int8 = _has(cpu, "_is_vnni_supported") or _has(cpu, "_is_amx_tile_supported")
    wide_bf16 = _has(cpu, "_is_avx512_bf16_supported") or _has(cpu, "_is_amx_tile_supported")
    if precision == "mixed" and wide_int8:
        return "int8"
    if precision == "bf16" or wide_bf16:
        return "bfloat16"
    return "float32"


@contextmanager
def full_fp32(device: torch.device) -> Iterator[None]:
    """Products of fp32 matrices keep fp32's 23 bits, whatever the process allows elsewhere (TF32 keeps 10)."""
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    name, full = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    before = getattr(matmul, name)
    setattr(matmul, name, full)
    try:
        yield
    finally:
        setattr(matmul, name, before)


def _has(cpu: object, name: str) -> bool:
    """Whether this torch knows the question and answers yes."""
    ask = getattr(cpu, name, None)
    return bool(ask()) if ask else False
