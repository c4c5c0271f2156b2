"""omnisae: encoding a store to posting lists. A turn of as many steps as the store has batches encodes it once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.bench.contestants import stores
from benchmarks.bench.contestants.contestant import SAMPLE, Contestant
from benchmarks.bench.contestants.ours import autoencoder_config
from benchmarks.bench.setting import Setting
from torch import Tensor

from omnisae.autoencoders.artifact import Artifact, ArtifactInfo
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.extract.split import SELECT, TEST
from omnisae.postings.encode import encode


class Encoding(Contestant):
    """An artifact as it stands before training, and a store."""

    def __init__(self, setting: Setting, rows: Tensor, batches: int) -> None:
        super().__init__("omnisae", "numba")
        autoencoder = Autoencoder(autoencoder_config(setting), setting.width, seed=0)
        autoencoder.initialise(rows[:SAMPLE])
        autoencoder.eval().requires_grad_(False)
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name)
        length = min(stores.LENGTH, setting.batch // 4)
        self.store = stores.write(self._path / "store", rows[: batches * setting.batch], length)
        self.batches = self.store.tokens // setting.batch
        self.artifact = Artifact(autoencoder, ArtifactInfo(hook=self.store.hook), {}, self._path)
        examples = np.arange(self.store.tokens // length)
        self.split = np.where(examples % 2, SELECT, TEST).astype(np.uint8)

    def train(self, batches: Iterator[Tensor]) -> None:
        for number, _ in enumerate(batches):
            # The store's other batches: steps that take no time, since encoding is one call for all of them.
            for _ in range(self.batches - 1):
                next(batches)
            encode(self.artifact, self.store, self.split, self._path / f"postings{number % 2}")


def build(setting: Setting, rows: Tensor, options: dict[str, Any]) -> Contestant:
    """`options`: `batches`, the size of the store."""
    return Encoding(setting, rows, options["batches"])
