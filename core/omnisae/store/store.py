"""The store, read: shards on disk as a source of tokens."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from omnisae.store.manifest import Manifest
from omnisae.store.source import TokenSource, TokenStream
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter


class Store(TokenSource):
    """The tokens of one hook point, on disk."""

    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open a finished store, local or remote (`s3://…`). Raises StoreError."""
        raise NotImplementedError

    @property
    def tokens(self) -> int:
        """How many tokens it holds."""
        return self.manifest.rows

    def fingerprint(self) -> str:
        """The content key under which the tokens were extracted."""
        return self.manifest.key

    def verify(self) -> None:
        """Check every shard against its checksum. Raises StoreError that names the damaged ones."""
        raise NotImplementedError

    def sequential(
        self, keep: TokenFilter, examples: Bool[np.ndarray, " example"] | None = None, batch: int = 4096
    ) -> Iterator[TokenBatch]:
        raise NotImplementedError

    def stream(
        self,
        keep: TokenFilter,
        examples: Bool[np.ndarray, " example"] | None = None,
        *,
        batch: int,
        seed: int,
        pool: int = 65_536,
    ) -> TokenStream:
        raise NotImplementedError
