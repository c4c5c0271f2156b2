"""Live tokens: straight from the extractor, without a store, in a shuffle whose position can be saved exactly."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnisae.errors import DatasetError, StoreError
from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor
from omnisae.extract.loading import Loaded, load
from omnisae.hooks.point import HookPoint
from omnisae.store.source import TokenSource, TokenStream
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter


class LiveSource(TokenSource):
    """The tokens of one hook point, computed when they are asked for. `skipped` collects unreadable examples by id."""

    def __init__(self, dataset: Dataset, extractor: Extractor, hook: HookPoint, *, workers: int | None = None) -> None:
        self.dataset, self.extractor, self.hook, self.workers = dataset, extractor, hook, workers
        self.skipped: dict[str, str] = {}

    def fingerprint(self) -> str:
        parts = [self.extractor.fingerprint(), self.dataset.fingerprint(), self.hook.model_dump(mode="json"), "float32"]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def sequential(
        self, keep: TokenFilter, examples: Bool[np.ndarray, " example"] | None = None, batch: int = 4096
    ) -> Iterator[TokenBatch]:
        waiting: list[TokenBatch] = []
        for loaded in load(self.dataset, self.extractor, self.rows(examples), self.workers):
            tokens = self.tokens(loaded, keep)
            waiting += [tokens] if tokens is not None else []
            while sum(map(len, waiting)) >= batch:
                joined = join(waiting)
                yield part(joined, 0, batch)
                waiting = [part(joined, batch, len(joined))]
        if sum(map(len, waiting)):
            yield join(waiting)

    def stream(
        self,
        keep: TokenFilter,
        examples: Bool[np.ndarray, " example"] | None = None,
        *,
        batch: int,
        seed: int,
        pool: int = 65_536,
    ) -> "LiveStream":
        return LiveStream(self, keep, self.rows(examples), batch=batch, seed=seed, pool=pool)

    def rows(self, examples: Bool[np.ndarray, " example"] | None) -> list[int]:
        """The chosen rows, ascending."""
        chosen = np.arange(len(self.dataset)) if examples is None else np.flatnonzero(examples)
        return [int(row) for row in chosen]

    def tokens(self, loaded: Loaded, keep: TokenFilter) -> TokenBatch | None:
        """The kept tokens of one loaded batch, fp32; None where none of its examples could be read.

        Raises StoreError where activations are NaN or infinite, naming the example.
        """
        self.skipped |= {one.id: one.reason for one in loaded.skipped}
        if not loaded.rows:
            return None
        tokens = self.extractor.extract(loaded.rows, loaded.inputs, [self.hook]).tokens[self.hook.name]
        tokens = tokens.take(keep.keep(tokens.example, tokens.coords, tokens.role, self.hook.roles))
        values = tokens.values.float()
        if not torch.isfinite(values).all():
            row = int(tokens.example[~torch.isfinite(values).all(dim=1)][0])
            raise StoreError(
                f"hook point {self.hook.name!r}: NaN or infinite activations in example {self.dataset.ids[row]!r} "
                f"(row {row})",
                "look at this example and at the model's precision; leave it out, or run the model in float32",
            )
        return TokenBatch(values, tokens.example, tokens.coords, tokens.role)


@dataclass(slots=True)
class _Pool:
    """Tokens of consecutive examples of one epoch's permutation, in the order in which they are handed out."""

    cursor: int
    values: Float[Tensor, "token width"]
    example: Tensor


class LiveStream(TokenStream):
    """Batches out of pools: each epoch permutes the examples, and as many in a row as give `pool` tokens are shuffled
    together. The position is the epoch, the place in the permutation at which the pool begins, and the tokens of it
    already handed out; restoring extracts that pool again, with the very same batches through the model.
    """

    def __init__(
        self, source: LiveSource, keep: TokenFilter, rows: list[int], *, batch: int, seed: int, pool: int
    ) -> None:
        if not rows:
            raise DatasetError("there is no example to stream", "choose a split with at least one example")
        self.source, self.keep, self.rows = source, keep, rows
        self.batch, self.seed, self.size = batch, seed, max(pool, 1)
        self.epoch, self.cursor, self.offset = 0, 0, 0
        self._loading: Iterator[Loaded] | None = None
        self._pool: _Pool | None = None
        self._last: list[int] = []

    def next(self) -> Float[Tensor, "token width"]:
        parts, missing, self._last = [], self.batch, []
        while missing:
            pool = self._current()
            stop = min(self.offset + missing, len(pool.values))
            parts.append(pool.values[self.offset : stop])
            self._last += dict.fromkeys(pool.example[self.offset : stop].tolist())
            missing -= stop - self.offset
            self.offset = stop
        return torch.cat(parts) if len(parts) > 1 else parts[0].clone()

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "cursor": self.cursor, "offset": self.offset, "made": self._made}

    def restore(self, state: dict[str, Any]) -> None:
        if state.get("made") != self._made:
            raise StoreError(
                "the saved position belongs to a stream of another model, dataset, hook point, filter, seed or size",
                "go on with the settings of the interrupted run, or start anew",
            )
        self.epoch, self.cursor, self.offset = int(state["epoch"]), int(state["cursor"]), int(state["offset"])
        self._loading, self._pool = None, None

    def where(self) -> str:
        names = [repr(self.source.dataset.ids[row]) for row in self._last[:5]]
        more = len(self._last) - len(names)
        return f"examples {', '.join(names)}" + (f" and {more} more" if more > 0 else "")

    @cached_property
    def _made(self) -> str:
        """A hash of all that decides which rows come when."""
        parts = [
            self.source.fingerprint(),
            self.keep.model_dump(mode="json"),
            self.seed,
            self.batch,
            self.size,
            self.rows,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _current(self) -> _Pool:
        """The pool that still has tokens: this one, the next, or the first of the next epoch."""
        empty_since = None
        while self._pool is None or self.offset >= len(self._pool.values):
            if self._pool is not None:
                self.cursor, self.offset, self._pool = self._pool.cursor, 0, None
            if self.cursor >= len(self.rows):
                if empty_since == self.epoch:
                    raise DatasetError(
                        f"none of the {len(self.rows)} examples gives a token that the filter keeps",
                        "keep other roles or a larger fraction under `tokens:`",
                    )
                self.epoch, self.cursor, self._loading = self.epoch + 1, 0, None
            if self.cursor == 0:
                empty_since = self.epoch
            self._pool = self._fill()
        return self._pool

    def _fill(self) -> _Pool:
        """Extract examples from the cursor on until the pool is full or the epoch ends, and shuffle their tokens."""
        if self._loading is None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.rows))
            ahead = [self.rows[i] for i in order[self.cursor :]]
            self._loading = load(self.source.dataset, self.source.extractor, ahead, self.source.workers)
        parts, found, end = [], 0, self.cursor
        for loaded in self._loading:
            end += len(loaded.asked)
            tokens = self.source.tokens(loaded, self.keep)
            if tokens is not None:
                parts.append(tokens)
                found += len(tokens)
            if found >= self.size:
                break
        if not found:
            return _Pool(end, torch.zeros(0, self.source.hook.width), torch.zeros(0, dtype=torch.int64))
        whole = join(parts)
        mixed = torch.from_numpy(np.random.default_rng([self.seed, self.epoch, self.cursor]).permutation(len(whole)))
        return _Pool(end, whole.values[mixed], whole.example[mixed])


def join(parts: list[TokenBatch]) -> TokenBatch:
    """Batches one after the other."""
    if len(parts) == 1:
        return parts[0]
    return TokenBatch(
        torch.cat([p.values for p in parts]),
        torch.cat([p.example for p in parts]),
        torch.cat([p.coords for p in parts]),
        torch.cat([p.role for p in parts]),
    )


def part(batch: TokenBatch, start: int, stop: int) -> TokenBatch:
    """A run of rows, as a view."""
    return TokenBatch(
        batch.values[start:stop], batch.example[start:stop], batch.coords[start:stop], batch.role[start:stop]
    )
