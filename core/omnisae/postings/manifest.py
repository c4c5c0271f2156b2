"""The manifest of posting lists: what the folder holds, file by file. Normative text: docs/file-formats.md."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_magic
from pydantic import BaseModel, ConfigDict, ValidationError

from omnisae.atomic import write_text
from omnisae.errors import StoreError
from omnisae.extract.split import SELECT
from omnisae.hooks.point import HookPoint
from omnisae.postings.poles import Poles
from omnisae.tokens.filter import TokenFilter

FORMAT = "omnisae.postings"
SCHEMA = 3
"""The newest version. Unsigned lists are still written as version 1, byte for byte as before."""
NAME = "manifest.json"
HEALTH = "health.json"
ARRAYS = (
    "example",
    "coords",
    "role",
    "split",
    "offsets",
    "token",
    "value",
    "counts",
    "counts_select",
    "maxima",
    "maxima_select",
)
_AGAIN = "encode again (omnisae encode), or restore the folder from a copy"


def schema_of(signed: bool, hook: HookPoint) -> int:
    """The version in which lists are written: the oldest that can say it."""
    return 3 if hook.later else 2 if signed else 1


class File(BaseModel):
    """One file of the folder."""

    model_config = ConfigDict(extra="forbid")

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What posting lists hold. `tokens` and `entries` count the rows of the token table and the codes' non-zeros.

    `keep` is the filter by which tokens of test examples were kept, `keep_select` that of select examples (None: the
    same). `signed`: codes may be negative, and every latent has two lists (see `poles`); this is version 2, since older
    readers would misread it. Version 3 is of hook points that older readers do not know (see `HookPoint.later`).
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["omnisae.postings"] = "omnisae.postings"
    schema_version: int = 1
    hook: HookPoint
    keep: TokenFilter
    keep_select: TokenFilter | None = None
    latents: int
    signed: bool = False
    examples: int
    tokens: int
    entries: int
    about: dict[str, Any] = {}
    files: dict[str, File] = {}

    @property
    def poles(self) -> Poles:
        """What each posting list belongs to."""
        return Poles(self.latents, self.signed)

    def keep_on(self, side: int) -> TokenFilter:
        """The filter by which tokens of a side of the split were kept."""
        return self.keep_select if side == SELECT and self.keep_select is not None else self.keep

    def write(self, folder: Path) -> None:
        """Write it whole, or leave the one before. Raises StoreError where the disk is full."""
        raw = self.model_dump(mode="json", exclude=None if self.signed else {"signed"})
        write_text(folder / NAME, json.dumps(raw, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Raises StoreError where it is missing, is damaged, or was written by a newer omnisae."""
        path = folder / NAME
        if not path.is_file():
            raise StoreError(
                f"{path}: there is no such file, so {folder} holds no posting lists", "run `omnisae encode`"
            )
        try:
            raw = json.loads(path.read_text())
        except ValueError as error:
            raise StoreError(f"{path}: is damaged: {error}", _AGAIN) from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise StoreError(f"{path}: is not the manifest of posting lists", "give the folder `codes` of a run")
        version = raw.get("schema_version")
        if not isinstance(version, int) or version > SCHEMA:
            raise StoreError(
                f"{path}: has schema version {version}, and this omnisae reads up to {SCHEMA}",
                "it was written by a newer omnisae: upgrade (pip install --upgrade omnisae), or encode again",
            )
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise StoreError(f"{path}: is damaged: {field}: {first['msg']}", _AGAIN) from error


def describe(path: Path) -> File:
    """Size and checksum of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return File(bytes=path.stat().st_size, sha256=digest.hexdigest())


def load(folder: Path, name: str, manifest: Manifest) -> np.ndarray[Any, np.dtype[Any]]:
    """One array, memory-mapped. Raises StoreError where the file is missing or its size is not the manifest's."""
    path = folder / f"{name}.npy"
    listed = manifest.files.get(path.name)
    if listed is None or not path.is_file():
        raise StoreError(f"{path}: is missing", _AGAIN)
    if path.stat().st_size != listed.bytes:
        raise StoreError(f"{path}: holds {path.stat().st_size} bytes where the manifest says {listed.bytes}", _AGAIN)
    with open(path, "rb") as file:
        if read_magic(file) != (1, 0):
            raise StoreError(f"{path}: is no .npy file of version 1.0", _AGAIN)
        shape, fortran, dtype = read_array_header_1_0(file)
        start = file.tell()
    if 0 in shape:  # an empty file cannot be mapped
        return np.empty(shape, dtype)
    mapped = np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape, order="F" if fortran else "C")
    return np.asarray(mapped)
