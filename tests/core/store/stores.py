"""Small stores with tokens whose values tell which token they are."""

from pathlib import Path

import torch

from omnisae.hooks.point import HookPoint
from omnisae.store.manifest import ITEMSIZE
from omnisae.store.store import Store
from omnisae.store.writer import StoreWriter
from omnisae.tokens.batch import TokenBatch

HOOK = HookPoint(name="layer.output", at=("layer",), pattern="example ([cls] + y x) d", sizes={"y": 2, "x": 3}, width=5)
PER_EXAMPLE = 7


def tokens(first: int, stop: int, hook: HookPoint = HOOK) -> TokenBatch:
    """The tokens of some examples. Dimensions 0 and 1 are the token's number; every dtype holds all of them exactly."""
    count = (stop - first) * PER_EXAMPLE
    example = torch.arange(first, stop).repeat_interleave(PER_EXAMPLE)
    values = torch.zeros(count, hook.width)
    values[:, 0] = torch.arange(first * PER_EXAMPLE, stop * PER_EXAMPLE) % 128
    values[:, 1] = torch.arange(first * PER_EXAMPLE, stop * PER_EXAMPLE) // 128
    values[:, 2] = -(example % 128).float()
    values[:, 3] = 127  # so that a step of int8 is 1
    grid = torch.tensor([[-1, -1]] + [[y, x] for y in range(2) for x in range(3)], dtype=torch.int32)
    role = torch.tensor([1] + [0] * 6, dtype=torch.uint8)
    return TokenBatch(values, example, grid.repeat(stop - first, 1), role.repeat(stop - first))


def number(values: torch.Tensor) -> torch.Tensor:
    """The token's number, from its values."""
    return (values[:, 0] + 128 * values[:, 1]).long()


def shard_mb(rows: int, hook: HookPoint = HOOK, itemsize: int = 4) -> float:
    """The shard size at which shards close at `rows` rows."""
    return rows * hook.width * itemsize / 2**20


def write(path: Path, examples: int, *, rows: int = 50, dtype: str = "float32", step: int = 4) -> Store:
    """A store of `examples` examples in shards of about `rows` rows."""
    size = shard_mb(rows, itemsize=ITEMSIZE[dtype])
    writer = StoreWriter.open(path, HOOK, key="k", dtype=dtype, shard_mb=size, about={"model": "m", "dataset": "d"})
    for first in range(0, examples, step):
        stop = min(first + step, examples)
        writer.append(tokens(first, stop), stop)
    return writer.finish()
