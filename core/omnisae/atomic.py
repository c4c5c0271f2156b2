"""Files that are either the old one or the new one whole, whatever happens while they are written. No torch here."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnisae.errors import OmnisaeError, StoreError

_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is too big",
}


def write_bytes(path: Path, data: bytes | bytearray | memoryview) -> None:
    """Write a file whole, or leave what was there. Raises StoreError where the disk is full."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) whole, or leave what was there. Raises StoreError where the disk is full."""
    write_bytes(path, text.encode())


def write_json(path: Path, obj: Any) -> None:
    """Write a JSON file whole, or leave what was there.

    Raises StoreError where the disk is full, OmnisaeError where a number is NaN or infinite: JSON cannot hold it.
    """
    try:
        text = json.dumps(obj, indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise OmnisaeError(
            f"{path}: cannot be written as JSON: {error}", "replace NaN and infinite numbers by null"
        ) from error
    write_text(path, text + "\n")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, which takes the place of `path` when the block ends without an error.

    For libraries that write files by themselves. Raises StoreError where the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with disk(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            commit(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def commit(temporary: Path, path: Path) -> None:
    """Give a finished temporary file its name, so that it is there after a power cut too."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_folder(path.parent)


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turns the errors of a full disk into one that says what to do. Other errors pass."""
    try:
        yield
    except Exception as error:
        number = _number(error)
        reason = _NO_ROOM.get(number)
        if reason is None:
            raise
        raise StoreError(
            f"{reason}: cannot write {path} ({os.strerror(number)})",
            "make room and run the same command again: what is already done stays usable, and it goes on from there",
        ) from error


def _number(error: Exception) -> int:
    """The operating system's number of an error; 0 where it is none of its own. Safetensors tells it in words alone."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else 0


def _sync_folder(folder: Path) -> None:
    """Make a rename last. Some file systems cannot sync a folder: there, the rename is as safe as they make it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
