"""Stores on other machines: shards are fetched through fsspec, one at a time, when they are first needed."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from omnisae.atomic import replacing
from omnisae.errors import StoreError, did_you_mean
from omnisae.store.faults import altered
from omnisae.store.manifest import NAME, Shard


def is_remote(path: str | Path) -> bool:
    """Whether a path names something that is not a file of this machine, such as `s3://bucket/store`."""
    return "://" in str(path)


def manifest_bytes(url: str) -> bytes:
    """The manifest's text. Raises StoreError where there is none."""
    system, folder = _system(url)
    try:
        content: bytes = system.cat_file(f"{folder.rstrip('/')}/{NAME}")
    except FileNotFoundError as error:
        raise StoreError(f"{url}: has no {NAME}", "check the address, or extract first (omnisae extract)") from error
    except Exception as error:
        raise _unreachable(url, error) from error
    return content


def fetch(url: str, shard: Shard) -> Path:
    """A local copy of a shard, fetched once and kept by its checksum under the cache folder (`OMNISAE_CACHE`).

    Raises StoreError where it cannot be fetched, or is not what the manifest promises.
    """
    copy = _cache() / f"{shard.sha256}.safetensors"
    if copy.exists() and copy.stat().st_size == shard.bytes:
        return copy
    system, folder = _system(url)
    with replacing(copy) as temporary:
        try:
            system.get_file(f"{folder.rstrip('/')}/{shard.name}", str(temporary))
        except OSError as error:
            if error.errno is not None and not isinstance(error, FileNotFoundError):
                raise
            raise _unreachable(f"{url}/{shard.name}", error) from error
        except Exception as error:
            raise _unreachable(f"{url}/{shard.name}", error) from error
        with open(temporary, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
                raise altered([f"{url}/{shard.name}"])
    return copy


def _system(url: str) -> tuple[Any, str]:
    import fsspec

    protocol = url.split("://")[0].split("::")[-1]
    if protocol not in fsspec.available_protocols():
        raise StoreError(
            f"{url}: no file system is called {protocol!r}", did_you_mean(protocol, fsspec.available_protocols())
        )
    try:
        system, folder = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise StoreError(f"{url}: a library for {protocol!r} is missing: {error}", "install what it names") from error
    return system, folder


def _cache() -> Path:
    """The folder of fetched shards."""
    named = os.environ.get("OMNISAE_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(named) if named else Path(home if os.path.isdir(home) else tempfile.gettempdir()) / "omnisae"
    return folder / "shards"


def _unreachable(url: str, error: Exception) -> StoreError:
    return StoreError(f"{url}: cannot be fetched: {error or type(error).__name__}", "check the address and the network")
