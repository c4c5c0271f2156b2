"""Whole trainings by `omnisae.training.trainer.train`, which calls `observe` after each step: there the baton is."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bench.baton import Rehearsal
from benchmarks.bench.contestants.contestant import SAMPLE, Contestant
from benchmarks.bench.contestants.ours import autoencoder_config, train_config
from benchmarks.bench.setting import Setting
from torch import Tensor

from omnisae.store.source import TokenStream
from omnisae.training.jobs import Job
from omnisae.training.trainer import train

HOOK = "data"


class InMemory(TokenStream):
    """Rows that are in memory already, as they lie."""

    def __init__(self, rows: Tensor, batch: int) -> None:
        self._rows, self._batch, self._number = rows, batch, 0

    def next(self) -> Tensor:
        start = self._number % (len(self._rows) // self._batch) * self._batch
        self._number += 1
        return self._rows[start : start + self._batch]

    def state(self) -> dict[str, Any]:
        return {"number": self._number}

    def restore(self, state: dict[str, Any]) -> None:
        self._number = state["number"]

    def where(self) -> str:
        return "rows in memory"


class Whole(Contestant):
    """`jobs` autoencoders of one config and different seeds, in one pass over a stream."""

    def __init__(self, setting: Setting, rows: Tensor, options: dict[str, Any]) -> None:
        super().__init__("omnisae", "numba")
        self.stream: TokenStream = InMemory(rows, setting.batch)
        self.sample = rows[:SAMPLE]
        # A line of the log after every step is what calls `observe` after every step.
        self.config = train_config(setting, options).model_copy(update={"log_every": 1})
        config = autoencoder_config(setting)
        self.jobs = [Job(f"s{seed}", HOOK, config, seed) for seed in range(options.get("jobs", 1))]

    def train(self, batches: Iterator[Tensor]) -> None:
        assert hasattr(batches, "turn"), f"{type(batches).__name__} has no turns to wait for"
        baton: Rehearsal = batches
        baton.turn()

        def observe(event: dict[str, Any]) -> None:
            if event["event"] == "step":
                baton.turn()

        with tempfile.TemporaryDirectory() as out:
            train(
                self.jobs,
                {HOOK: self.stream},
                {HOOK: self.sample},
                self.config,
                Path(out),
                key="benchmark",
                observe=observe,
                progress=False,
            )


def build(setting: Setting, rows: Tensor, options: dict[str, Any]) -> Contestant:
    """`options`: `precision`, and `jobs`, the number of autoencoders."""
    return Whole(setting, rows, options)
