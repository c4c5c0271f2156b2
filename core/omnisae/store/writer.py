"""Writing a store: tokens in, shards out, and exact continuation of one that was interrupted."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnisae.atomic import disk
from omnisae.errors import StoreError, did_you_mean
from omnisae.hooks.point import HookPoint
from omnisae.lock import lives
from omnisae.store.finite import checked
from omnisae.store.manifest import ITEMSIZE, NAME, Manifest, Shard, Skipped, schema_of, shard_name
from omnisae.store.packed import Packed
from omnisae.store.shard import ShardWriter, check_size
from omnisae.store.spool import sweep
from omnisae.store.store import Store
from omnisae.tokens.batch import TokenBatch


class StoreWriter:
    """Writes the tokens of one hook point.

    A shard closes at the first end of an example at which it holds `shard_mb`, so that where shards end depends on the
    tokens alone: a store written with interruptions is byte for byte the one written without. Also a context manager:
    leaving the block early throws away the shard at work and keeps the finished ones.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._path = path
        self._manifest = manifest
        self._shard: ShardWriter | None = None
        self._start = manifest.examples if manifest.complete else manifest.shards[-1].stop if manifest.shards else 0
        self._through = self._start
        self._last = -1
        self._broken = False
        self._skipped: dict[int, Skipped] = {}

    @classmethod
    def open(
        cls, path: Path, hook: HookPoint, *, key: str, dtype: str, shard_mb: float, about: dict[str, Any]
    ) -> "StoreWriter":
        """Begin a store, or go on with a half-written one of the same key.

        `shard_mb` is the size of a shard in MiB; one that goes on keeps the size it began with. Raises StoreError for a
        store of another key (saying what differs), or one whose finished shards are damaged.
        """
        path = Path(path)
        if dtype not in ITEMSIZE:
            raise StoreError(f"store.dtype is {dtype!r}", did_you_mean(dtype, ITEMSIZE))
        if dtype == "int8" and hook.columns:
            raise StoreError(
                f"hook {hook.name!r} has columns {list(hook.columns)}, and store.dtype is 'int8': one step for all "
                "values of a token would round its activations away beside a column's large value",
                "set store.dtype: float16 (or bfloat16, float32)",
            )
        shard_rows = max(1, int(shard_mb * 2**20) // (hook.width * ITEMSIZE[dtype]))
        wanted = Manifest.model_validate(
            {
                "schema_version": schema_of(dtype, hook),
                "key": key,
                "hook": hook,
                "dtype": dtype,
                "width": hook.width,
                "shard_rows": shard_rows,
                "about": about,
            }
        )
        with disk(path):
            path.mkdir(parents=True, exist_ok=True)
        if not (path / NAME).exists():
            wanted.write(path)
            return cls(path, wanted)
        found = Manifest.read(path)
        _refuse_another(found, wanted, path)
        for shard in found.shards:
            check_size(path / shard.name, shard)
        _sweep(path, found)
        return cls(path, found)

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._path

    @property
    def next_row(self) -> int:
        """Examples with row < next_row are durably done; what is handed in of them again is dropped."""
        return self._start

    def append(self, batch: TokenBatch, through: int) -> None:
        """Add tokens, in ascending order of examples; all examples with row < `through` are now complete.

        Tokens of examples that were done when the writer was opened are dropped, so that several writers at different
        places can be fed alike. Raises StoreError where values are NaN, infinite or too large for the dtype (naming the
        example's row and the hook point), where tokens come out of order, or where the disk is full.
        """
        if self._broken:
            raise StoreError(
                f"{self._path}: writing failed before", "open the store again: it goes on from its last shard"
            )
        example = batch.example.cpu().to(torch.int64)
        fresh = int(torch.searchsorted(example, self._start))
        values, coords, role = batch.values[fresh:], batch.coords[fresh:].cpu(), batch.role[fresh:].cpu()
        example = example[fresh:]
        self._check_order(example, values, coords)
        stored = checked(values, example, coords, self._manifest)
        ends = self._ends(example, through)
        position = 0
        while True:
            left = self._manifest.shard_rows - (self._shard.rows if self._shard else 0)
            cut = np.searchsorted(ends, position + max(left, 0))
            stop = int(ends[cut]) if cut < len(ends) else len(example)
            self._write(stored, example, coords, role, slice(position, stop))
            if cut == len(ends) or self._shard is None:
                break
            self._close_shard()
            position = stop
        self._through = max(self._through, through)

    def skip(self, row: int, id: str, reason: str) -> None:
        """Record that an example gives no tokens."""
        if row >= self._start:
            self._skipped.setdefault(row, Skipped(row=row, id=id, reason=reason))

    def finish(self) -> Store:
        """Close the last shard and mark the store complete. Raises StoreError where an example is half-written."""
        if not self._manifest.complete:
            if self._last >= self._through:
                raise StoreError(
                    f"{self._path}: example row {self._last} is unfinished (done through {self._through})",
                    "append its last tokens with `through` past its row before finish()",
                )
            if self._shard is not None:
                self._close_shard()
            self._manifest.skipped += [self._skipped[row] for row in sorted(self._skipped)]
            self._skipped = {}
            self._manifest.examples = max([self._through, *(skip.row + 1 for skip in self._manifest.skipped)])
            self._manifest.complete = True
            self._manifest.write(self._path)
        return Store.open(self._path)

    def close(self) -> None:
        """Throw away the shard at work; finished shards stay."""
        if self._shard is not None:
            self._shard.drop()
            self._shard = None

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_order(self, example: Tensor, values: Tensor, coords: Tensor) -> None:
        hook = self._manifest.hook
        if values.shape[1:] != (hook.width,) or coords.shape[1:] != (len(hook.axes),):
            raise StoreError(
                f"hook {hook.name!r}: got values of shape {list(values.shape)} with coordinates {list(coords.shape)}; "
                f"the store holds width {hook.width} with {len(hook.axes)} axes ({', '.join(hook.axes) or 'none'})",
                "extract at the hook point with which the store was opened",
            )
        if not len(example):
            return
        floor = max(self._last, self._through)
        if int(example[0]) < floor or bool((example[1:] < example[:-1]).any()):
            raise StoreError(
                f"hook {hook.name!r}: tokens came out of order (example row {int(example[0])} after {floor})",
                "append tokens in ascending order of examples, each example before `through` passes it",
            )

    def _ends(self, example: Tensor, through: int) -> np.ndarray:
        """Positions in the batch at which an example ends, the batch's edges among them where they are such ends."""
        rows = example.numpy()
        before = np.concatenate([[self._last], rows])
        after = np.concatenate([rows, [max(through, before[-1])]])
        return np.flatnonzero(before != after)

    def _write(self, packed: Packed, example: Tensor, coords: Tensor, role: Tensor, rows: slice) -> None:
        if rows.start == rows.stop:
            return
        self._last = int(example[rows.stop - 1])
        with self._failing():
            if self._shard is None:
                path = self._path / shard_name(len(self._manifest.shards))
                hook = self._manifest.hook
                self._shard = ShardWriter(path, hook.width, len(hook.axes), self._manifest.dtype)
            self._shard.append(packed.part(rows.start, rows.stop), example[rows], coords[rows], role[rows])

    def _close_shard(self) -> None:
        shard, shards = self._shard, self._manifest.shards
        if shard is None:
            return
        with self._failing():
            size, digest = shard.close()
        first, stop = shards[-1].stop if shards else 0, self._last + 1
        shards.append(Shard(name=shard.path.name, rows=shard.rows, first=first, stop=stop, bytes=size, sha256=digest))
        self._shard = None
        done = sorted(row for row in self._skipped if row < stop)
        self._manifest.skipped += [self._skipped.pop(row) for row in done]
        self._manifest.rows += shard.rows
        self._manifest.examples = stop
        self._manifest.write(self._path)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """On any failure, throw away the shard at work: its space comes free, and finished shards stay."""
        try:
            with disk(self._path):
                yield
        except BaseException:
            self._broken = True
            self.close()
            raise


def _refuse_another(found: Manifest, wanted: Manifest, path: Path) -> None:
    """Raises StoreError where the store in the folder is not the one wanted, with what differs."""
    old, new = _facts(found), _facts(wanted)
    differ = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    if found.key == wanted.key and not any(name.split(".")[0] in ("hook", "dtype") for name in differ):
        return
    shown = "; ".join(f"{name}: {old.get(name)!r} there, {new.get(name)!r} now" for name in differ[:6])
    raise StoreError(
        f"{path}: holds the activations of something else ({shown or f'key {found.key} there, {wanted.key} now'})",
        "choose another folder, or delete this store if it is no longer needed",
    )


def _facts(manifest: Manifest) -> dict[str, Any]:
    facts: dict[str, Any] = {"dtype": manifest.dtype}
    facts |= {f"hook.{name}": value for name, value in manifest.hook.model_dump(mode="json").items()}
    return facts | {f"about.{name}": value for name, value in manifest.about.items()}


def _sweep(path: Path, manifest: Manifest) -> None:
    """Remove what a killed writer left: shards that the manifest does not list, parts of shards, and spools."""
    known = {shard.name for shard in manifest.shards}
    for file in path.glob("shard-*.safetensors"):
        if file.name not in known:
            file.unlink(missing_ok=True)
    sweep(path)
    for file in path.glob(".*.part"):
        pid = file.name.split(".")[-2]
        if not pid.isdigit() or int(pid) == os.getpid() or not lives(int(pid)):
            with suppress(OSError):
                file.unlink()
