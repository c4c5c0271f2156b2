"""One shard: a safetensors file of tokens, written as a stream and read by rows."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8
from torch import Tensor

from omnisae.atomic import commit
from omnisae.errors import StoreError
from omnisae.store.faults import REMEDY, missing, truncated
from omnisae.store.manifest import ITEMSIZE, Manifest, Shard
from omnisae.store.packed import Packed

DATA = 4096
"""Where the tensors begin: the header is padded to this, so that rows can be written before their number is known."""

_CODES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8"}
_NUMPY: dict[str, type[np.generic]] = {
    "F32": np.float32,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "U8": np.uint8,
}


class ShardWriter:
    """Writes one shard: values go to the disk at once, the narrow columns wait in memory until it closes."""

    def __init__(self, path: Path, width: int, axes: int, dtype: str) -> None:
        self.path = path
        self.rows = 0
        self._width, self._axes, self._dtype = width, axes, dtype
        self._columns: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._scales: list[np.ndarray] = []
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._file = open(self._part, "wb+", buffering=0)  # noqa: SIM115 - closed by close or drop
        self._file.seek(DATA)

    def append(
        self,
        packed: Packed,
        example: Int[Tensor, " token"],
        coords: Int[Tensor, "token axis"],
        role: UInt8[Tensor, " token"],
    ) -> None:
        """Add rows, which are in the shard's dtype already. Raises OSError."""
        values = packed.values
        bits = values.contiguous().view(torch.uint8).numpy() if values.numel() else np.empty(0, np.uint8)
        _write(self._file, bits)
        if packed.scale is not None:
            self._scales.append(packed.scale.numpy().copy())
        self._columns.append((example.numpy().copy(), coords.numpy().copy(), role.numpy().copy()))
        self.rows += len(example)

    def close(self) -> tuple[int, str]:
        """Write columns and header and give the file its name: its size in bytes and its SHA-256. Raises OSError."""
        example, coords, role = (np.concatenate(parts) for parts in zip(*self._columns, strict=True))
        columns = {"example": _narrow(example, np.int32)}
        if self._scales:
            columns["scale"] = np.concatenate(self._scales)
        columns |= {"coords": _narrow(coords, np.int16), "role": role}
        header: dict[str, Any] = {}
        end = self.rows * self._width * ITEMSIZE[self._dtype]
        header["values"] = _entry(_CODES[self._dtype], (self.rows, self._width), 0, end)
        padding = -end % 8
        if padding:  # readers may want every tensor aligned to its item
            columns = {"padding": np.zeros(padding, np.uint8), **columns}
        for name, column in columns.items():
            _write(self._file, np.ascontiguousarray(column).reshape(-1).view(np.uint8))
            code = next(code for code, dtype in _NUMPY.items() if column.dtype == dtype)
            header[name] = _entry(code, column.shape, end, end + column.nbytes)
            end += column.nbytes
        text = json.dumps({"__metadata__": {"format": "omnisae.store"}, **header}, separators=(",", ":")).encode()
        self._file.seek(0)
        _write(self._file, np.frombuffer((DATA - 8).to_bytes(8, "little") + text.ljust(DATA - 8), np.uint8))
        self._file.seek(0)
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()
        self._file.close()
        commit(self._part, self.path)
        return DATA + end, digest

    def drop(self) -> None:
        """Throw away what was written."""
        self._file.close()
        self._part.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Rows:
    """A tensor of a shard of which rows are read: where it begins in the file, and the bytes of a row."""

    offset: int
    row_bytes: int


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """Where the columns of a shard lie in its file: offset in bytes and numpy dtype. Only int8 has a scale."""

    path: Path
    rows: int
    values: Rows
    scale: Rows | None
    example: tuple[int, np.dtype[Any]]
    coords: tuple[int, np.dtype[Any]]
    role: int
    axes: int

    def columns(
        self, descriptor: int, start: int, stop: int
    ) -> tuple[Int[Tensor, " token"], Int[Tensor, "token axis"], UInt8[Tensor, " token"]]:
        """Example (int64), coordinates (int32) and role of the rows from `start` to `stop`. Raises StoreError."""
        example = self._read(descriptor, *self.example, start, stop, 1).astype(np.int64)
        coords = self._read(descriptor, *self.coords, start, stop, self.axes).astype(np.int32)
        role = self._read(descriptor, self.role, np.dtype(np.uint8), start, stop, 1)
        return (
            torch.from_numpy(example),
            torch.from_numpy(coords.reshape(len(example), self.axes)),
            torch.from_numpy(role),
        )

    def scales(self, descriptor: int, start: int, stop: int) -> Float32[Tensor, " token"] | None:
        """The scales of the rows from `start` to `stop`; None where there are none. Raises StoreError."""
        if self.scale is None:
            return None
        return torch.from_numpy(self._read(descriptor, self.scale.offset, np.dtype(np.float32), start, stop, 1))

    def _read(
        self, descriptor: int, offset: int, dtype: np.dtype[Any], start: int, stop: int, per_row: int
    ) -> np.ndarray:
        item = dtype.itemsize * per_row
        data = os.pread(descriptor, (stop - start) * item, offset + start * item)
        if len(data) != (stop - start) * item:
            raise truncated(self.path)
        return np.frombuffer(bytearray(data), dtype)


def read_layout(path: Path, shard: Shard, manifest: Manifest) -> ShardLayout:
    """Read a shard's header and check it against the manifest. Raises StoreError."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 1 << 20)))
        axes = len(manifest.hook.axes)
        shapes = {"values": [shard.rows, manifest.width], "example": [shard.rows], "role": [shard.rows]}
        shapes["coords"] = [shard.rows, axes]
        if manifest.dtype == "int8":
            shapes["scale"] = [shard.rows]
        found = {name: _located(header[name], 8 + length) for name in shapes}
        if any(header[name]["shape"] != shape for name, shape in shapes.items()):
            raise ValueError("its shapes differ from the manifest's")
        if header["values"]["dtype"] != _CODES[manifest.dtype]:
            raise ValueError(f"it holds {header['values']['dtype']} and the manifest says {manifest.dtype}")
        if header.get("scale", {}).get("dtype", "F32") != "F32":
            raise ValueError(f"its scales are {header['scale']['dtype']}, not F32")
        integers = {name: np.dtype(_NUMPY[header[name]["dtype"]]) for name in ("example", "coords", "role")}
    except FileNotFoundError as error:
        raise missing(path) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: this shard is altered: {error}", REMEDY) from error
    return ShardLayout(
        path,
        shard.rows,
        Rows(found["values"], manifest.width * ITEMSIZE[manifest.dtype]),
        Rows(found["scale"], 4) if "scale" in found else None,
        (found["example"], integers["example"]),
        (found["coords"], integers["coords"]),
        found["role"],
        axes,
    )


def check_size(path: Path, shard: Shard) -> None:
    """Raises StoreError where the file's length is not the manifest's: cheap, so every opening does it."""
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise missing(path) from error
    if size != shard.bytes:
        word = "truncated" if size < shard.bytes else "altered"
        raise StoreError(
            f"{path}: this shard is {word}: it has {size:,} bytes, the manifest says {shard.bytes:,}", REMEDY
        )


def checksum(path: Path) -> str:
    """SHA-256 of a file, hex. Raises StoreError where it is missing."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise missing(path) from error


def _located(entry: dict[str, Any], start: int) -> int:
    return start + int(entry["data_offsets"][0])


def _entry(code: str, shape: tuple[int, ...], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": code, "shape": list(shape), "data_offsets": [start, stop]}


def _narrow(column: np.ndarray, narrow: type[np.generic]) -> np.ndarray:
    """The smaller of two integer types where every number fits it."""
    limits = np.iinfo(narrow)  # type: ignore[type-var]
    fits = column.size == 0 or (column.min() >= limits.min and column.max() <= limits.max)
    return column.astype(narrow if fits else (np.int64 if narrow is np.int32 else np.int32))


def _write(file: Any, data: np.ndarray) -> None:
    """All of it: one call may write a part only, as when the disk is nearly full."""
    left = memoryview(data.data).cast("B")
    while left:
        left = left[file.write(left) :]
