"""Where every sample lies in tar shards: read from the headers once, so that any of them is one seek away."""

import hashlib
import json
import logging
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnisae.atomic import write_json
from omnisae.errors import DatasetError
from omnisae_vision.plugin_datasets import PICKLED

log = logging.getLogger(__name__)

_NAMED = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
_GZIP = b"\x1f\x8b"
_BLOCK = 512
_VERSION = 1
Span = tuple[int, int]
"""Where a member's bytes begin in its shard, and how many they are."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Members of one key in one shard, by their ending."""

    key: str
    shard: Path
    members: Mapping[str, Span]

    def what(self, ending: str) -> str:
        """A member in words."""
        return f"{self.key}.{ending} in {self.shard}"

    def read(self, ending: str) -> bytes:
        """A member's bytes. Raises OSError."""
        start, size = self.members[ending]
        with self.shard.open("rb") as file:
            file.seek(start)
            found = file.read(size)
        if len(found) < size:
            raise OSError("the shard ends within it")
        return found


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard's samples in their order, and what of it is lost."""

    path: Path
    samples: Sequence[Sample]
    damage: str = ""
    pickles: int = 0


def read(path: Path) -> Shard:
    """The samples of a shard, from the cache where the same file was read before. Raises DatasetError where it is no
    tar, is compressed, or holds a member twice."""
    about = path.stat()
    place = _cache() / f"{hashlib.sha256(f'{_VERSION} {path.resolve()}'.encode()).hexdigest()[:24]}.json"
    stamp = [about.st_size, about.st_mtime_ns]
    try:
        held = json.loads(place.read_bytes())
        if held["stamp"] == stamp:
            return Shard(path, _samples(path, held["members"]), held["damage"], held["pickles"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not read before, or not whole: read again
    members, damage, pickles = _scan(path, about.st_size)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, {"stamp": stamp, "members": members, "damage": damage, "pickles": pickles})
    except OSError as error:
        log.warning("the index of %s cannot be kept, and is made again each time: %s", path, error)
    return Shard(path, _samples(path, members), damage, pickles)


def _scan(path: Path, size: int) -> tuple[dict[str, dict[str, Span]], str, int]:
    """Members by key and ending, what is lost, and how many pickles were passed over."""
    found: dict[str, dict[str, Span]] = {}
    damage, pickles = "", 0
    with path.open("rb") as file:
        if file.read(2) == _GZIP:
            raise DatasetError(
                f"{path} is compressed: no sample in it can be read without all before it", "gunzip the shards"
            )
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member, key, ending in _members(tar):
                    if ending.rpartition(".")[2] in PICKLED:
                        pickles += 1
                    elif member.offset_data + member.size > size:
                        damage = f"it ends within {member.name}"
                    elif ending in found.setdefault(key, {}):
                        raise DatasetError(f"{path} holds {member.name} twice", "keep one of the two")
                    else:
                        found[key][ending] = (member.offset_data, member.size)
                damage = damage or _rest(path, tar.offset)
        except tarfile.TarError as error:
            if not found:
                raise DatasetError(f"{path} is no tar file: {error}", "give WebDataset's tar shards") from error
            damage = damage or str(error)
    return found, damage, pickles


def _members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, str]]:
    """The plain files that WebDataset takes for members, with their key and ending."""
    while (member := tar.next()) is not None:
        named = _NAMED.match(member.name)
        if named is not None and member.isreg() and not named[1].startswith("__"):
            yield member, named[1], named[2].lower()
        tar.members = []  # type: ignore[attr-defined]  # what was passed is not kept: shards have many members


def _rest(path: Path, offset: int) -> str:
    """tarfile stops without a word at a header that it does not understand: only zeros may follow the last member."""
    with path.open("rb") as file:
        file.seek(offset)
        block = file.read(_BLOCK)
    return f"what follows byte {offset} is no member" if block.strip(b"\0") else ""


def _samples(path: Path, members: Mapping[str, Mapping[str, Sequence[int]]]) -> list[Sample]:
    return [
        Sample(key, path, {ending: (int(start), int(size)) for ending, (start, size) in of.items()})
        for key, of in members.items()
    ]


def _cache() -> Path:
    named = os.environ.get("OMNISAE_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(named) if named else home / "omnisae") / "webdataset"
