"""Triton's kernels become machine code for real GPUs: the compiler needs none to be there.

The interpreter is more lenient than the compiler, and says nothing of registers, shared memory or the width of loads.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")
pytestmark = pytest.mark.slow

CAPABILITIES = (80, 90)  # A100, H100
SHARED = 96 * 1024  # bytes that every GPU from Ampere on has for a program
WIDE = {"_peaks", "_winners", "_gather", "_residuals", "_inner_products", "_sum_by_latent"}
WIDE |= {"_halved", "_remove_parallel", "_to_unit"}
"""Kernels that read long rows, which must be read 16 bytes at a time."""


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that has a shape and no memory."""
    return torch.empty(*shape, dtype=dtype, device="meta")


class Pretended:
    """A driver that says which GPU is there and never starts anything."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.capability, self.target = capability, GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> Any:
        return self.target

    def get_current_device(self) -> int:
        return self.capability  # what was compiled is kept by device

    def get_current_stream(self, device: int) -> int:
        return 0


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], dict[str, Any]]:
    """Makes calls of kernels end after compilation, and gives the kernels by name."""
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        pytest.skip("Triton was imported as an interpreter")
    from triton.runtime import driver

    from omnisae.autoencoders.kernels.triton import launch

    compiled: dict[str, Any] = {}

    def run(kernel: Any, grid: tuple[int, ...], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        for argument in arguments:
            assert not isinstance(argument, Tensor) or argument.is_contiguous(), kernel.__name__
        assert max(grid[1:], default=0) < 2**16
        compiled[kernel.__name__] = kernel.warmup(*arguments, grid=grid, **options)

    def start(capability: int) -> dict[str, Any]:
        monkeypatch.setattr(driver, "_active", Pretended(capability))
        return compiled

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(launch, "_run", run)
    return start


def top(latents: int, k: int, dtype: torch.dtype) -> None:
    from omnisae.autoencoders.kernels.triton import selection

    found, values = empty(64, k, dtype=torch.int32), empty(64, k)
    selection.row_top(empty(64, latents, dtype=dtype), empty(latents), k, latents < 20_000, found, values)


def members(latents: int, k: int, dtype: torch.dtype) -> None:
    from omnisae.autoencoders.kernels.triton import picking, selection

    size = selection.group_size(latents, k)
    groups = empty(4096 * k, dtype=torch.int64)
    picking._members(empty(1024, latents, dtype=dtype), empty(latents), groups, latents // size, size)


def decide(k: int) -> None:
    from omnisae.autoencoders.kernels.triton import selection

    selection.best(empty(64, k + k // 4), empty(64, k + k // 4, dtype=torch.int32), k, False)


def products(latents: int, width: int, groups: int) -> None:
    from omnisae.autoencoders.kernels.triton import latents as by_latent
    from omnisae.autoencoders.kernels.triton import residuals

    entries = 4096 * 64
    places = [empty(count, dtype=torch.int64) for count in (entries, latents + 1, entries, groups)]
    x, shift, weights = empty(4096, width), empty(width), empty(entries)
    bags = empty(4096 * groups + 1, dtype=torch.int64)
    residuals.residuals(weights, x, shift, empty(latents, width), places[0], bags, empty(groups))
    by_latent.sum_by_latent(empty(4096, groups, width), weights, *places, shift)


def weights(latents: int, width: int) -> None:
    from omnisae.autoencoders.kernels.triton import rows

    rows.halved(empty(latents, width), empty(width))
    rows.remove_parallel(empty(latents, width), empty(latents, width))
    rows.to_unit(empty(latents, width), 1e-12)


CALLS: dict[str, Callable[[], None]] = {
    "top of 16 k in fp32": lambda: top(16_384, 64, torch.float32),
    "top of 131 k in bf16": lambda: top(131_072, 80, torch.bfloat16),
    "256 of 131 k": lambda: top(131_072, 256, torch.bfloat16),
    "few dead latents": lambda: top(1000, 256, torch.float32),
    "largest": lambda: members(131_072, 64, torch.bfloat16),
    "decision": lambda: decide(64),
    "products": lambda: products(16_384, 1024, 1),
    "nested products": lambda: products(131_072, 4096, 3),
    "weights": lambda: weights(131_072, 4096),
    "odd sizes": lambda: products(1001, 770, 1),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("call", CALLS)
def test_compiles(call: str, capability: int, pretend: Callable[[int], dict[str, Any]]) -> None:
    compiled = pretend(capability)
    CALLS[call]()
    assert compiled
    for name, kernel in compiled.items():
        code = kernel.asm["ptx"]
        assert f".target sm_{capability}" in code
        assert len(kernel.asm["cubin"]) > 0
        assert kernel.metadata.shared <= SHARED, name
        assert not re.search(r"\b(atom|red)\.\S*global", code), f"{name}: the order of sums would vary"
        if name in WIDE and call != "odd sizes":
            assert re.search(r"ld\.global\S*\.v4\.b32", code), f"{name} reads in small pieces"
        if name == "_halved":
            assert "cvt.rn.bf16" in code, "to bf16 by cutting bits off"
