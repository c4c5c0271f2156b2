"""Small folders of events in every form, the world, and recommenders of a few steps' training."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve()
if find_spec("omnisae_recommendation") is None:
    collect_ignore_glob = ["test_*.py"]  # the plug-in is not installed here


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Worlds and trained weights are written into a folder of the test run, never into the user's cache."""
    os.environ["OMNISAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def world() -> Path:
    """Eighty users of the world."""
    datasets = pytest.importorskip("omnisae_datasets", reason="omnisae-datasets is not installed")
    found = datasets.resolve("world:sessions?n=80&seed=0")
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data, where the checkout has it."""
    folder = Path(os.environ.get("OMNISAE_SHARED_DATA") or HERE.parents[4] / "shared" / "data") / "recommendation"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (set OMNISAE_SHARED_DATA)")
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write text files into one folder: write(name="line\\nline\\n", ...); dots in names are written `__`."""

    def files(**texts: str) -> Path:
        for name, text in texts.items():
            (tmp_path / name.replace("__", ".")).write_text(text, encoding="utf-8")
        return tmp_path

    return files
