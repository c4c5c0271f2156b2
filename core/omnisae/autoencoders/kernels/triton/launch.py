"""How a kernel is started."""

import math
from typing import Any

import torch
from torch import Tensor

from omnisae.autoencoders.kernels.device import SWITCH
from omnisae.errors import TrainingError

ELEMENTS = 4096
"""Numbers of a tile that a program holds at a time: 32 for each of the threads of four warps."""
MOST_ENTRIES = 64
"""Most rows that a program gathers at a time."""
COLUMNS = (64, 512)
"""Fewest and most columns of a tile whose rows are gathered: 256 bytes of a row or more are read at a stroke."""
CACHED = 2**22
"""Numbers of a matrix whose rows are gathered that stay in the L2 cache: 16 MiB, of 40 to 50 on an A100 or H100."""


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, warps: int = 4, **constants: Any) -> None:
    """Run `kernel` once for every point of the grid, on the device of the tensors among its arguments."""
    if math.prod(grid) > 0:
        _run(kernel, grid, arguments, {"num_warps": warps, **constants})


def _run(kernel: Any, grid: tuple[int, ...], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    tensor = next(argument for argument in arguments if isinstance(argument, Tensor))
    # Triton launches on the current device, whatever the tensors'.
    with torch.cuda.device_of(tensor):  # type: ignore[no-untyped-call]
        try:
            kernel[grid](*arguments, **options)
        except RuntimeError as error:
            if "C compiler" not in str(error):
                raise
            raise TrainingError(
                f"Triton cannot start kernels on the GPU: {error}",
                f"install a C compiler such as gcc, or set {SWITCH}=plain, which is slower and needs none",
            ) from error


def power_of_two(count: int) -> int:
    """The smallest power of two that is no less."""
    return 1 << max(0, count - 1).bit_length()


def columns(width: int, rows: int) -> tuple[int, int]:
    """The columns of a tile, and how many tiles lie side by side, where rows of a (rows × width) matrix are gathered.

    Programs run tile after tile. A tile is so narrow that this stretch of all rows stays in the cache, where it fits.
    """
    fewest, most = COLUMNS
    each = min(max(CACHED // power_of_two(rows), fewest), most, power_of_two(width))
    return each, -(-width // each)


def warps(elements: int) -> int:
    """Warps for a program that holds so many numbers at a time: 16 in a thread."""
    most = 32 if torch.version.hip is None else 16  # 1024 threads, of which a warp on AMD's cards has 64
    return min(max(4, power_of_two(elements) // (16 * 32)), most)
