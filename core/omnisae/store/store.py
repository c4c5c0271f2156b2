"""The store, read: shards on disk as a source of tokens."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from omnisae.errors import StoreError
from omnisae.store import remote
from omnisae.store.faults import altered
from omnisae.store.manifest import ITEMSIZE, Manifest
from omnisae.store.sequence import sequence
from omnisae.store.shard import ShardLayout, check_size, checksum, read_layout
from omnisae.store.source import TokenSource
from omnisae.store.stream import StoreStream
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter


class Store(TokenSource):
    """The tokens of one hook point, on disk. Open one with `Store.open`."""

    def __init__(self, path: str, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.hook = manifest.hook
        self._layouts: dict[int, ShardLayout] = {}

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open a finished store: a folder, or an address that fsspec knows (`s3://bucket/store`).

        Raises StoreError where there is none, it is half-written, a newer omnisae wrote it, or a shard is missing or
        has another length than the manifest says. Checksums are `verify`'s.
        """
        store = cls(str(path), Manifest.read(path))
        if not store.manifest.complete:
            raise StoreError(
                f"{path}: is half-written: {store.manifest.examples:,} examples ({store.tokens:,} tokens) are done",
                "run the same extraction again: it goes on from there",
            )
        if not remote.is_remote(path):
            for shard in store.manifest.shards:
                check_size(Path(path) / shard.name, shard)
        return store

    @property
    def tokens(self) -> int:
        """How many tokens it holds."""
        return self.manifest.rows

    @property
    def row_bytes(self) -> int:
        """Bytes of one stored activation."""
        return self.manifest.width * ITEMSIZE[self.manifest.dtype]

    def fingerprint(self) -> str:
        """The content key under which the tokens were extracted."""
        return self.manifest.key

    def verify(self) -> None:
        """Check every shard against its checksum. Raises StoreError that names the damaged ones."""
        bad = [self.file(i) for i, shard in enumerate(self.manifest.shards) if checksum(self.file(i)) != shard.sha256]
        if bad:
            raise altered(bad)

    def sequential(
        self, keep: TokenFilter, examples: Bool[np.ndarray, " example"] | None = None, batch: int = 4096
    ) -> Iterator[TokenBatch]:
        """All tokens that `keep` lets through, of the chosen examples, in the dataset's order, fp32.

        Batches hold exactly `batch` tokens, the last perhaps fewer. Raises StoreError where a shard cannot be read.
        """
        self._check_examples(examples)
        return sequence(self, keep, examples, batch)

    def stream(
        self,
        keep: TokenFilter,
        examples: Bool[np.ndarray, " example"] | None = None,
        *,
        batch: int,
        seed: int,
        pool: int = 65_536,
    ) -> StoreStream:
        """A shuffled endless stream of batches: see StoreStream. Raises StoreError where no token is kept."""
        self._check_examples(examples)
        return StoreStream(self, keep, examples, batch=batch, seed=seed, pool=pool)

    def file(self, number: int) -> Path:
        """The file of a shard; of a remote one, its local copy, fetched now where need be. Raises StoreError."""
        shard = self.manifest.shards[number]
        return remote.fetch(self.path, shard) if remote.is_remote(self.path) else Path(self.path) / shard.name

    def layout(self, number: int) -> ShardLayout:
        """Where the columns of a shard lie. Raises StoreError where its header is not what the manifest says."""
        if number not in self._layouts:
            self._layouts[number] = read_layout(self.file(number), self.manifest.shards[number], self.manifest)
        return self._layouts[number]

    def _check_examples(self, examples: Bool[np.ndarray, " example"] | None) -> None:
        if examples is not None and (examples.dtype != np.bool_ or len(examples) < self.manifest.examples):
            raise StoreError(
                f"{self.path}: holds {self.manifest.examples:,} examples, and the choice among them is an array of "
                f"{len(examples):,} ({examples.dtype})",
                "choose by one boolean per example of the dataset from which the store was extracted",
            )
