"""omnisae: whole trainings, of one autoencoder or several, that read a store from a cold disk."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bench.contestants import stores
from benchmarks.bench.contestants.contestant import Contestant
from benchmarks.bench.contestants.whole import Whole
from benchmarks.bench.setting import Setting
from torch import Tensor

from omnisae.tokens.filter import TokenFilter


class Reading(Whole):
    """`forget` before a turn makes the disk cold; a stopped process reads nothing ahead meanwhile."""

    def __init__(self, setting: Setting, rows: Tensor, options: dict[str, Any]) -> None:
        super().__init__(setting, rows, options)
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "store"
        length = min(stores.LENGTH, setting.batch // 4)
        store = stores.write(self._path, rows, length)
        pool = min(self.config.pool, store.tokens)
        self.stream = store.stream(TokenFilter(), batch=setting.batch, seed=0, pool=pool)

    def forget(self, _: Path) -> None:
        """Nothing of the store stays in the page cache."""
        stores.forget(self._path)


def build(setting: Setting, rows: Tensor, options: dict[str, Any]) -> Contestant:
    """`options`: `precision`, and `jobs`, the number of autoencoders."""
    return Reading(setting, rows, options)
