"""Fixtures of the store's tests; `stores.py` beside it makes small stores."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stores import write

from omnisae.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return write(tmp_path / "store", 60)


@pytest.fixture
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Store]:
    """Writes a store into a folder of its own."""
    return lambda *args, **options: write(tmp_path_factory.mktemp("made") / "store", *args, **options)


@pytest.fixture(autouse=True, scope="module")
def unsynced() -> Iterator[None]:
    """No waiting for the disk: these tests kill processes, not the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
