"""The manifest: what a store holds, shard by shard. Normative text: docs/file-formats.md. No torch here."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from omnisae.atomic import write_text
from omnisae.errors import StoreError
from omnisae.hooks.point import HookPoint

FORMAT = "omnisae.store"
SCHEMA = 3
"""The newest schema that this version reads."""

NAME = "manifest.json"

Dtype = Literal["float32", "float16", "bfloat16", "int8"]
ITEMSIZE: dict[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
SCHEMA_OF: dict[str, int] = {"float32": 1, "float16": 1, "bfloat16": 1, "int8": 2}
"""The schema in which each dtype is written: the oldest that can say it, so that older versions read what they can."""


def schema_of(dtype: str, hook: HookPoint) -> int:
    """The schema in which a store is written: the third where its hook point says what others do not know."""
    return 3 if hook.later else SCHEMA_OF[dtype]


class Record(BaseModel):
    """A part of the manifest: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Shard(Record):
    """One shard: `rows` tokens of the examples from `first` up to, not including, `stop`."""

    name: str
    rows: int
    first: int
    stop: int
    bytes: int
    sha256: str


class Skipped(Record):
    """An example that gave no tokens, and why."""

    row: int
    id: str
    reason: str


class Manifest(Record):
    """What a store holds. `examples` counts those that are done, skipped ones among them."""

    format: Literal["omnisae.store"] = "omnisae.store"
    schema_version: int = 1
    key: str
    hook: HookPoint
    dtype: Dtype
    width: int
    shard_rows: int
    about: dict[str, Any] = {}
    complete: bool = False
    examples: int = 0
    rows: int = 0
    shards: list[Shard] = []
    skipped: list[Skipped] = []

    def write(self, folder: Path) -> None:
        """Write it whole, or leave the one before. Raises StoreError where the disk is full."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False)
        write_text(folder / NAME, text + "\n")

    @classmethod
    def read(cls, path: str | Path) -> "Manifest":
        """The manifest of a store, half-written ones too. Raises StoreError where there is none, or see `parse`."""
        from omnisae.store import remote

        if remote.is_remote(path):
            return cls.parse(remote.manifest_bytes(str(path)), f"{path}/{NAME}")
        try:
            text = (Path(path) / NAME).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StoreError(f"{path}: has no {NAME}", "check the path, or extract first (omnisae extract)") from error
        return cls.parse(text, str(Path(path) / NAME))

    @classmethod
    def parse(cls, text: str | bytes, origin: str) -> "Manifest":
        """Read a manifest. Raises StoreError where it is none, is damaged, or was written by a newer omnisae."""
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise StoreError(f"{origin}: is damaged: {error}", "restore it from a copy, or extract again") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise StoreError(f"{origin}: is not the manifest of an activation store", "give the folder of a store")
        version = raw.get("schema_version")
        if not isinstance(version, int) or version > SCHEMA:
            raise StoreError(
                f"{origin}: has schema version {version}, and this omnisae reads up to {SCHEMA}",
                "it was written by a newer omnisae: upgrade (pip install --upgrade omnisae), or extract again",
            )
        try:
            manifest = cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise StoreError(
                f"{origin}: is damaged: {field}: {first['msg']}", "restore it from a copy, or extract again"
            ) from error
        manifest.check(origin)
        return manifest

    def check(self, origin: str) -> None:
        """Raises StoreError where the numbers contradict each other."""
        stop = 0
        for i, shard in enumerate(self.shards):
            if shard.name != shard_name(i) or shard.first != stop or shard.stop <= shard.first or shard.rows <= 0:
                raise StoreError(
                    f"{origin}: is damaged: shard {i} ({shard.name}) does not follow the one before it",
                    "restore it from a copy, or extract again",
                )
            stop = shard.stop
        if (
            self.rows != sum(shard.rows for shard in self.shards)
            or self.examples < stop
            or self.width != self.hook.width
            or self.schema_version < schema_of(self.dtype, self.hook)
        ):
            raise StoreError(
                f"{origin}: is damaged: its rows, examples, width or schema contradict what it holds",
                "restore it from a copy, or extract again",
            )


def shard_name(index: int) -> str:
    """The file name of a shard."""
    return f"shard-{index:05d}.safetensors"
