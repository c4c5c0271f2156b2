"""A lock on a folder: two processes that write into one folder at once would spoil both. No torch here."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from omnisae.errors import RunError

try:
    import fcntl
except ImportError:  # pragma: no cover - not on this platform: the record in the file decides alone
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process while the block runs.

    The kernel lets go of the lock when the process dies, however it dies, so that a lock left behind by a killed
    process stands in nobody's way. Where the file system knows no locks, the process id in the file decides, and only
    for processes of this host. Raises RunError that names the process that holds the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    descriptor = _acquire(path, folder)
    # A forked child would share the lock and outlive its parent's death with it.
    alive = [descriptor]
    os.register_at_fork(after_in_child=lambda: _forget(alive))
    try:
        record = {"pid": os.getpid(), "host": socket.gethostname(), "started": datetime.now().isoformat(" ", "seconds")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(record).encode(), 0)
        yield
    finally:
        # Removed while still held: whoever opened the old file meanwhile sees that it is no longer the one on disk.
        with suppress(OSError):
            path.unlink()
        _forget(alive)


def _acquire(path: Path, folder: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _claim(descriptor, path, folder)
            if _same_file(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _claim(descriptor: int, path: Path, folder: Path) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            raise _held(_holder(path), folder) from None
        except OSError:
            pass  # this file system knows no locks
    holder = _holder(path, patience=0.0)
    if holder and (holder.get("host") != socket.gethostname() or lives(int(holder.get("pid", 0)))):
        raise _held(holder, folder)


def _held(holder: dict[str, Any], folder: Path) -> RunError:
    if not holder:
        return RunError(
            f"{folder}: another process is writing here", "wait for it to end, or choose another folder (--out)"
        )
    return RunError(
        f"{folder}: process {holder.get('pid')} on {holder.get('host')} has been writing here since "
        f"{holder.get('started')}; two runs in one folder would spoil both",
        f"wait for it to end, stop it, or choose another folder (--out); if it is surely gone, delete {folder / NAME}",
    )


def _holder(path: Path, patience: float = 0.5) -> dict[str, Any]:
    """Who holds the lock. The holder writes its record just after it gets the lock: wait a moment for it."""
    end = time.monotonic() + patience
    while True:
        with suppress(OSError, ValueError):
            record = json.loads(path.read_text())
            if isinstance(record, dict):
                return record
        if time.monotonic() >= end:
            return {}
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether a process of this host with this id is running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return pid > 0


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _forget(alive: list[int]) -> None:
    while alive:
        with suppress(OSError):
            os.close(alive.pop())
