"""Writing posting lists: codes go in token by token, and come out by latent. Memory does not grow with them."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy.lib.format import header_data_from_array_1_0, open_memmap, write_array_header_1_0

from omnisae.atomic import disk, write_json
from omnisae.errors import StoreError
from omnisae.extract.split import SELECT
from omnisae.hooks.point import HookPoint
from omnisae.postings.manifest import ARRAYS, HEALTH, Manifest, describe, schema_of
from omnisae.postings.postings import Postings
from omnisae.postings.transpose import transpose
from omnisae.tokens.filter import TokenFilter

_STREAMS = {
    "example": np.int32,
    "coords": np.int32,
    "role": np.uint8,
    "fired": np.int32,
    "latent": np.int32,
    "raw": np.float32,
}


class PostingsWriter:
    """Writes beside `out` and takes its place when finished; a run that breaks off leaves what was there.

    with PostingsWriter(out, hook, keep, latents, split) as writer:
        writer.append(example, coords, role, offsets, latents, values)     # tokens in ascending example order
        postings = writer.finish(health)

    With `signed`, positive and negative codes go into lists of their own; `counts` and `maxima` are by list.
    """

    def __init__(
        self,
        out: Path,
        hook: HookPoint,
        keep: TokenFilter,
        latents: int,
        split: UInt8[np.ndarray, " example"],
        about: dict[str, Any] | None = None,
        keep_select: TokenFilter | None = None,
        *,
        signed: bool = False,
    ) -> None:
        self._out = Path(out)
        self._split = np.ascontiguousarray(split, dtype=np.uint8)
        self._manifest = Manifest(
            schema_version=schema_of(signed, hook),
            hook=hook,
            keep=keep,
            keep_select=keep_select,
            latents=latents,
            signed=signed,
            examples=len(split),
            tokens=0,
            entries=0,
            about=about or {},
        )
        self._folder = self._out.with_name(f".{self._out.name}.{os.getpid()}.part")
        self._last = -1
        self.poles = self._manifest.poles
        lists = len(self.poles)
        self.counts = np.zeros(lists, dtype=np.int64)
        self.counts_select = np.zeros(lists, dtype=np.int64)
        self.maxima = np.zeros(lists, dtype=np.float32)
        self.maxima_select = np.zeros(lists, dtype=np.float32)
        shutil.rmtree(self._folder, ignore_errors=True)
        with disk(self._folder):
            self._folder.mkdir(parents=True)
            self._files: dict[str, IO[bytes]] = {
                name: open(self._raw(name), "wb")  # noqa: SIM115 (closed by finish and on the way out)
                for name in _STREAMS
            }

    def append(
        self,
        example: Int[np.ndarray, " token"],
        coords: Int[np.ndarray, "token axis"],
        role: UInt8[np.ndarray, " token"],
        offsets: Int[np.ndarray, " token+1"],
        latents: Int[np.ndarray, " entry"],
        values: Float[np.ndarray, " entry"],
    ) -> None:
        """Tokens with their codes in compressed rows.

        Raises StoreError where examples do not ascend, or the disk is full.
        """
        if not len(example):
            return
        if example[0] < self._last or (np.diff(example) < 0).any():
            raise StoreError(
                f"{self._out}: tokens arrived out of the examples' order",
                "a token source must go through them in order",
            )
        self._last = int(example[-1])
        lists, values = self.poles.of(latents, values.astype(np.float32, copy=False))
        parts = (example, coords, role, np.diff(offsets), lists, values)
        with disk(self._folder):
            for (name, dtype), part in zip(_STREAMS.items(), parts, strict=True):
                self._files[name].write(np.ascontiguousarray(part, dtype=dtype).tobytes())
        self._manifest.tokens += len(example)
        self._manifest.entries += len(values)
        self._tally(self._split[example] == SELECT, np.diff(offsets), lists, values)

    def finish(self, health: dict[str, Any]) -> Postings:
        """Turn the codes round, write the manifest last, and put the folder in its place."""
        self._close()
        with disk(self._folder):
            self._token_table()
            self._invert()
            for name in ("counts", "counts_select", "maxima", "maxima_select"):
                np.save(self._folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
            np.save(self._folder / "split.npy", self._split, allow_pickle=False)
            write_json(self._folder / HEALTH, health)
            names = [*(f"{name}.npy" for name in ARRAYS), HEALTH]
            self._manifest.files = {name: describe(self._folder / name) for name in names}
            self._manifest.write(self._folder)
            self._replace()
        return Postings.open(self._out)

    def __enter__(self) -> "PostingsWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tally(
        self,
        select: np.ndarray[Any, np.dtype[np.bool_]],
        fired: Int[np.ndarray, " token"],
        lists: Int[np.ndarray, " entry"],
        values: Float[np.ndarray, " entry"],
    ) -> None:
        chosen = np.repeat(select, fired)
        width = len(self.poles)
        self.counts += np.bincount(lists, minlength=width)
        self.counts_select += np.bincount(lists[chosen], minlength=width)
        np.maximum.at(self.maxima, lists, values)
        np.maximum.at(self.maxima_select, lists[chosen], values[chosen])

    def _token_table(self) -> None:
        """The raw streams of the token table become .npy files by getting a header in front."""
        tokens, axes = self._manifest.tokens, len(self._manifest.hook.axes)
        for name, shape in {"example": (tokens,), "coords": (tokens, axes), "role": (tokens,)}.items():
            header = header_data_from_array_1_0(np.empty(0, _STREAMS[name])) | {"shape": shape}
            with open(self._folder / f"{name}.npy", "wb") as file, open(self._raw(name), "rb") as raw:
                write_array_header_1_0(file, header)
                shutil.copyfileobj(raw, file, 1 << 22)
            self._raw(name).unlink()

    def _invert(self) -> None:
        entries = self._manifest.entries
        dtype = np.int32 if self._manifest.tokens < 2**31 else np.int64
        token, value = (self._empty("token", entries, dtype), self._empty("value", entries, np.float32))
        offsets = transpose(self._raw("latent"), self._raw("raw"), self._raw("fired"), self.counts, token, value)
        for mapped in (token, value):
            if isinstance(mapped, np.memmap):
                mapped.flush()
        np.save(self._folder / "offsets.npy", offsets, allow_pickle=False)
        for name in ("latent", "raw", "fired"):
            self._raw(name).unlink()

    def _empty(self, name: str, entries: int, dtype: Any) -> np.ndarray[Any, np.dtype[Any]]:
        path = self._folder / f"{name}.npy"
        if entries == 0:  # nothing fires anywhere, and an empty file cannot be mapped
            np.save(path, np.empty(0, dtype), allow_pickle=False)
            return np.empty(0, dtype)
        return open_memmap(path, mode="w+", dtype=dtype, shape=(entries,), version=(1, 0))

    def _replace(self) -> None:
        """A folder cannot be replaced in one move: the old one steps aside first and is deleted last."""
        old = self._out.with_name(f".{self._out.name}.{os.getpid()}.old")
        if self._out.exists():
            os.replace(self._out, old)
        os.replace(self._folder, self._out)
        shutil.rmtree(old, ignore_errors=True)

    def _raw(self, name: str) -> Path:
        return self._folder / f"{name}.raw"

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
