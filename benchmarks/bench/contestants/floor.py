"""The encoder product alone: what a step would take if nothing but batch × encoder had to be done."""

from collections.abc import Iterator
from typing import Any

import torch
from benchmarks.bench.contestants.contestant import Contestant
from benchmarks.bench.setting import Setting
from torch import Tensor

CHUNK = 512
"""Rows whose products stay in the cache: writing all of them to memory would cost more than computing them."""


class Product(Contestant):
    """x · Wᵀ, both in place before the clock starts, into one buffer."""

    def __init__(self, setting: Setting, rows: Tensor, kind: str) -> None:
        super().__init__()
        self.kind, self.dtype = kind, torch.bfloat16 if kind == "bf16" else torch.float32
        self.x = rows[: setting.batch].to(setting.device, self.dtype)
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(setting.latents, setting.width, generator=generator)
        self.weights = weights.to(setting.device, self.dtype)
        chunk = CHUNK if setting.device == "cpu" else setting.batch
        self.buffer = torch.empty(chunk, setting.latents, dtype=self.dtype, device=setting.device)

    def train(self, batches: Iterator[Tensor]) -> None:
        for _ in batches:
            with onednn(self.kind == "fp32 oneDNN"):
                for rows in self.x.split(len(self.buffer)):
                    torch.mm(rows, self.weights.t(), out=self.buffer[: len(rows)])


class onednn:
    """Send fp32 products to oneDNN instead of MKL. Without AMX its kernel computes them in true fp32."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __enter__(self) -> None:
        if self.on:
            torch.backends.mkldnn.matmul.fp32_precision = "bf16"

    def __exit__(self, *_: object) -> None:
        if self.on:
            torch.backends.mkldnn.matmul.fp32_precision = "none"


def build(setting: Setting, rows: Tensor, options: dict[str, Any]) -> Contestant:
    """`options`: `kind`, one of 'bf16', 'fp32 MKL', 'fp32 oneDNN'."""
    return Product(setting, rows, options["kind"])
