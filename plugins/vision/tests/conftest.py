"""Small folders of pictures whose truth is planted."""

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "ignore:.* has random weights")


@pytest.fixture
def paint() -> Callable[..., Path]:
    """Write a picture of noise: paint(path, (height, width), mode)."""

    def write(path: Path, size: tuple[int, int] = (40, 56), mode: str = "RGB", seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(values).convert(mode).save(path)
        return path

    return write


@pytest.fixture
def table() -> Callable[..., Path]:
    """Write a CSV: table(path, header, rows)."""

    def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of the world, written once a session."""
    datasets = pytest.importorskip("omnisae_datasets", reason="omnisae-datasets is not installed")
    found = datasets.resolve("world:shapes?n=12&seed=5")
    assert isinstance(found, Path)
    return found


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Worlds are written into a folder of the test run, never into the user's cache."""
    os.environ["OMNISAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def photos() -> Path:
    """Real photographs, where the checkout has them."""
    shared = Path(os.environ.get("OMNISAE_SHARED_DATA") or HERE.parents[3] / "shared" / "data") / "vision"
    if not shared.is_dir():
        pytest.skip(f"no real photographs: {shared} is absent (set OMNISAE_SHARED_DATA)")
    return shared
