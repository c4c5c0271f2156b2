"""The shuffled stream of a store: blocks in seeded order, mixed in memory, read ahead by threads."""

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnisae.errors import StoreError
from omnisae.store.buffers import Lender
from omnisae.store.fill import Filler
from omnisae.store.index import build_index
from omnisae.store.key import content_key
from omnisae.store.packed import Packed
from omnisae.store.schedule import Schedule
from omnisae.store.source import TokenStream
from omnisae.tokens.filter import TokenFilter

if TYPE_CHECKING:
    from omnisae.store.store import Store


class StoreStream(TokenStream):
    """Batches of a store in shuffled order, without end.

    The row at a position of the stream is a pure function of the store, the filter, the seed, the batch and the pool;
    so the position is all there is to save. A pool is read while the one before it is handed out: the memory is that of
    two pools in the store's dtype, and a batch. Rows go straight from the file to their places in their batches.
    """

    def __init__(
        self,
        store: "Store",
        keep: TokenFilter,
        examples: Bool[np.ndarray, " example"] | None,
        *,
        batch: int,
        seed: int,
        pool: int,
    ) -> None:
        self._store, self._batch = store, batch
        self._index = build_index(store, keep, examples)
        self._schedule = Schedule(self._index, batch, seed, pool)
        self._identity = {
            "store": store.fingerprint(),
            "filter": content_key(keep),
            "examples": content_key(None if examples is None else np.packbits(examples).tobytes()),
            "tokens": self._schedule.rows,
            "batch": batch,
            "seed": seed,
            "pool": pool,
        }
        self._lender = Lender(batch, store.hook.width)
        self._filler = Filler(store, self._index, self._schedule, batch)
        self._position = 0
        weakref.finalize(self, self._filler.halt)  # whoever forgets the stream wants nothing more read
        self._filler.begin(0)

    def next(self) -> Float[Tensor, "token width"]:
        """The next batch, fp32. Raises StoreError where a shard cannot be read."""
        packed = self.next_packed()
        if packed.values.dtype == torch.float32:
            return packed.values
        return self._lender.lend(packed.widen(self._lender.take()))

    def next_packed(self) -> Packed:
        """The next batch in the store's dtype. Raises StoreError where a shard cannot be read."""
        packed = self._filler.take(self._position // self._batch)
        self._position += self._batch
        return packed

    def state(self) -> dict[str, Any]:
        """The position, as JSON, with what it is a position in."""
        return {"position": self._position, **self._identity}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved position. Raises StoreError where it was saved from a stream made otherwise."""
        differ = [name for name, value in self._identity.items() if state.get(name) != value]
        position = state.get("position")
        if differ or not isinstance(position, int) or position < 0 or position % self._batch:
            shown = "; ".join(f"{name}: {state.get(name)!r} saved, {self._identity[name]!r} now" for name in differ)
            raise StoreError(
                f"{self._store.path}: the saved position is of another stream ({shown or f'position {position!r}'})",
                "go on with the same store, filter, split, seed, batch and pool, or train afresh",
            )
        self._position = position
        self._filler.begin(position)

    def where(self) -> str:
        """The shards of the last batch."""
        last, stop = max(self._position - self._batch, 0), self._position
        shards: set[int] = set()
        while last < stop:
            pool = self._schedule.at(last)
            rows = pool.order[last - pool.start : stop - pool.start]
            shards |= set(np.repeat(self._index.shard[pool.blocks], self._index.kept[pool.blocks])[rows].tolist())
            last = pool.stop
        names = [self._store.manifest.shards[shard].name for shard in sorted(shards)]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f"{self._store.path}: " + (", ".join(names[:8]) + more if names else "nothing read yet")

    def halt(self) -> None:
        """Break off the reading ahead, from any thread: what waits for it fails, until `restore` or `close`."""
        self._filler.halt()

    def close(self) -> None:
        """End the threads that read ahead. The position stays: the next batch starts them again."""
        self._filler.close(self._position)
