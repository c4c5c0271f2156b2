"""Activation stores for contestants that read from disk."""

import os
from pathlib import Path

import torch
from torch import Tensor

from omnisae.config import StoreConfig
from omnisae.hooks.point import HookPoint
from omnisae.store.store import Store
from omnisae.store.writer import StoreWriter
from omnisae.tokens.batch import TokenBatch

LENGTH = 256
"""Tokens of an example."""
EXAMPLES = 64
"""Examples written at a time."""


def write(folder: Path, rows: Tensor, length: int = LENGTH) -> Store:
    """A store of these rows, as `omnisae extract` would write it by default."""
    hook = HookPoint(
        name="data", at=("data",), pattern="example position d", sizes={"position": length}, width=rows.shape[1]
    )
    config = StoreConfig()
    writer = StoreWriter.open(
        folder, hook, key="benchmark", dtype=config.dtype, shard_mb=config.shard_mb, about={"made": "up"}
    )
    positions = torch.arange(length, dtype=torch.int32)
    for first in range(0, len(rows) // length, EXAMPLES):
        values = rows[first * length : (first + EXAMPLES) * length]
        count = len(values) // length
        example = torch.arange(first, first + count).repeat_interleave(length)
        role = torch.zeros(len(example), dtype=torch.uint8)
        values = values[: count * length]
        writer.append(TokenBatch(values, example, positions.repeat(count)[:, None], role), first + count)
    return writer.finish()


def forget(folder: Path) -> None:
    """Ask the kernel to drop a folder's files from its cache; what is not written yet it cannot drop."""
    os.sync()
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
