import numpy as np
import pytest
import torch
from torch import nn

from omnisae.config import HookConfig
from omnisae.errors import StoreError, UnreadableExample
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.module import ModuleExtractor


class Numbers(Dataset):
    """Small pictures, of which some cannot be read and some give NaN."""

    def __init__(self, n=20, unreadable=(), nan=(), broken=()):
        self._ids = [f"e{i}" for i in range(n)]
        self.unreadable, self.nan, self.broken = set(unreadable), set(nan), set(broken)
        self.values = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    @property
    def ids(self):
        return self._ids

    def load(self, row):
        if row in self.unreadable:
            raise UnreadableExample(f"{self._ids[row]}.png is truncated", "copy it again")
        if row in self.broken:
            raise KeyError("no such channel")
        return Example(row, self._ids[row], self.values[row] * (float("nan") if row in self.nan else 1.0))

    def fingerprint(self):
        return "numbers"


class Maps(ModuleExtractor):
    """A small convolutional network."""

    def __init__(self, batch_size=4):
        torch.manual_seed(0)
        layers = (nn.Conv2d(3, 5, 1), nn.ReLU(inplace=True), nn.Conv2d(5, 6, 3, padding=1), nn.Conv2d(6, 2, 1))
        super().__init__(nn.Sequential(*layers), batch_size=batch_size, device="cpu")

    def probe(self):
        return torch.zeros(2, 3, 4, 4)

    def declare(self, path, view, shape):
        return "example d y x", {"y": shape[2], "x": shape[3]}


class Memory:
    """A writer that keeps everything in memory, and stops being durable where it is told to break."""

    def __init__(self, next_row=0, fails_at=None):
        self.next_row, self.fails_at = next_row, fails_at
        self.batches, self.skips, self.finished, self.closed = [], [], False, False

    def append(self, batch, through):
        if not torch.isfinite(batch.values).all():
            raise StoreError(f"row {int(batch.example[0])} is not finite", "leave it out")
        if self.fails_at is not None and through > self.fails_at:
            raise OSError(28, "No space left on device")
        assert (batch.example >= self.next_row).all()
        assert (batch.example < through).all()
        self.batches.append(batch)
        self.next_row = through

    def skip(self, row, id, reason):
        self.skips.append((row, id, reason))

    def close(self):
        self.closed = True

    def finish(self):
        self.finished = True

    @property
    def values(self):
        return torch.cat([batch.values for batch in self.batches])

    @property
    def examples(self):
        return np.concatenate([batch.example.numpy() for batch in self.batches])


@pytest.fixture
def numbers():
    return Numbers


@pytest.fixture
def maps():
    return Maps


@pytest.fixture
def memory():
    return Memory


@pytest.fixture
def hooks():
    return lambda extractor, *paths, **more: extractor.resolve([HookConfig(at=path, **more) for path in paths])
