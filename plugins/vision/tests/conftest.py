"""Small folders of pictures whose truth is planted."""

import csv
import importlib.util
import os
import sys
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


ROOM = Path(__file__).parents[3] / "tests" / "core" / "studies" / "room.py"
KINDS = ("cat", "dog", "oak", "rose")


@pytest.fixture(scope="session")
def room():
    if not ROOM.exists():
        pytest.skip(f"materials are made by {ROOM.name} of core's own tests, which is absent")
    if "studies_room" not in sys.modules:
        spec = importlib.util.spec_from_file_location("studies_room", ROOM)
        sys.modules["studies_room"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["studies_room"])
    return sys.modules["studies_room"]


@pytest.fixture(scope="session")
def answer():
    """What a config's study finds: all of it, its numbers by name, and what it measured of every list by name."""

    def ask(config, material):
        found = config.build().study(material)
        return found, {one.name: one for one in found.findings}, {m.name: m.values for m in found.measures}

    return ask


@pytest.fixture
def pictures(room, tmp_path):
    """Latents 0 to 3 see one kind each, 4 sees both animals, 5 anything, 6 is constant, 7 is dead; another model's
    vectors lie near one direction a kind."""
    random = np.random.default_rng(0)
    kind = random.integers(0, 4, 320)
    codes = np.zeros((320, 8))
    for one in range(4):
        codes[:, one] = (kind == one) * random.uniform(1, 2, 320)
    codes[:, 4] = (kind < 2) * random.uniform(1, 2, 320)
    codes[:, 5] = random.uniform(1, 2, 320) * (random.random(320) < 0.5)
    codes[:, 6] = 1.0
    vectors = np.eye(24)[kind] + 0.03 * random.normal(size=(320, 24))
    np.save(tmp_path / "vectors.npy", vectors)
    turn = np.linalg.qr(random.normal(size=(8, 8)))[0]
    names = {"class": [KINDS[i] for i in kind]}
    material = room.material(tmp_path / "room", codes, activations=codes @ turn, labels=names)
    return material, tmp_path / "vectors.npy", kind
