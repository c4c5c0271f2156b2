"""A spool: tokens that come step by step and are wanted example by example, kept on disk meanwhile."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnisae.atomic import disk
from omnisae.errors import StoreError
from omnisae.lock import lives
from omnisae.tokens.batch import TokenBatch

_FIELDS = ("values", "example", "coords", "role")


@contextmanager
def spool(beside: Path) -> Iterator["Spool"]:
    """A spool in a folder of its own within `beside`, gone at the end of the block. Raises as `disk` does."""
    with disk(beside):
        folder = tempfile.TemporaryDirectory(prefix=f".spool.{os.getpid()}.", dir=beside, ignore_cleanup_errors=True)
    with folder as name:
        yield Spool(Path(name))


def sweep(beside: Path) -> None:
    """Remove the spools that killed processes left."""
    for folder in beside.glob(".spool.*"):
        pid = folder.name.split(".")[2]
        if pid.isdigit() and not lives(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


class Spool:
    """Parts of one batch of examples, each in the order of the examples; about one part is in memory at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._parts = folder, 0

    def add(self, part: TokenBatch) -> None:
        """Keep a part. Raises StoreError where its examples do not ascend, or the disk is full."""
        if not len(part):
            return
        tensors = {name: getattr(part, name).cpu().contiguous() for name in _FIELDS}
        example = tensors["example"]
        if bool((example[1:] < example[:-1]).any()):
            raise StoreError(
                f"part {self._parts} of a batch has its examples out of order", "give each part in the order of `rows`"
            )
        with disk(self._folder):
            save_file(tensors, self._file(self._parts))
        self._parts += 1

    def by_example(self) -> Iterator[TokenBatch]:
        """All that was kept, in ascending order of examples, each example's tokens in the order in which they came;
        about as many tokens at a time as one part holds, yet no less than one example's."""
        if not self._parts:
            return
        files = [safe_open(self._file(i), framework="pt") for i in range(self._parts)]
        examples = [_all(file, "example") for file in files]
        rows = torch.unique(torch.cat(examples))
        for some in rows.split(max(1, len(rows) // len(files))):
            first, last = int(some[0]), int(some[-1])
            pieces = [_piece(file, *_span(example, first, last)) for file, example in zip(files, examples, strict=True)]
            joined = TokenBatch(*(torch.cat([getattr(piece, name) for piece in pieces]) for name in _FIELDS))
            yield joined.take(joined.example.argsort(stable=True))

    def _file(self, part: int) -> Path:
        return self._folder / f"{part}.safetensors"


def _all(file: Any, name: str) -> Tensor:
    found: Tensor = file.get_tensor(name)
    return found


def _span(example: Tensor, first: int, last: int) -> tuple[int, int]:
    return int(torch.searchsorted(example, first)), int(torch.searchsorted(example, last, right=True))


def _piece(file: Any, start: int, stop: int) -> TokenBatch:
    return TokenBatch(*(file.get_slice(name)[start:stop] for name in _FIELDS))
