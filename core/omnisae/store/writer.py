"""Writing a store: tokens in, shards out, and exact continuation of one that was interrupted."""

from pathlib import Path
from typing import Any

from omnisae.hooks.point import HookPoint
from omnisae.store.store import Store
from omnisae.tokens.batch import TokenBatch


class StoreWriter:
    """Writes the tokens of one hook point."""

    @classmethod
    def open(
        cls, path: Path, hook: HookPoint, *, key: str, dtype: str, shard_mb: float, about: dict[str, Any]
    ) -> "StoreWriter":
        """Begin a store, or go on with a half-written one of the same key. Raises StoreError for one of another key."""
        raise NotImplementedError

    @property
    def next_row(self) -> int:
        """Examples with row < next_row are durably done; what is handed in of them again is dropped."""
        raise NotImplementedError

    def append(self, batch: TokenBatch, through: int) -> None:
        """Add tokens, in ascending order of examples; all examples with row < `through` are now complete.

        Raises StoreError where values are NaN or infinite (naming the example's row), or the disk is full.
        """
        raise NotImplementedError

    def skip(self, row: int, id: str, reason: str) -> None:
        """Record that an example gives no tokens."""
        raise NotImplementedError

    def finish(self) -> Store:
        """Close the last shard and mark the store complete."""
        raise NotImplementedError
