"""The faulty plug-ins of tests/plugins_data, installed into a folder of their own."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "plugins_data"
Run = Callable[..., subprocess.CompletedProcess[str]]


def install(source: Path, target: Path) -> None:
    """What pip leaves behind, without its seconds: the modules, and a .dist-info made from the pyproject.toml."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    for module in source.glob("*.py"):
        shutil.copy(module, target)
    info = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    requires = "".join(f"Requires-Dist: {requirement}\n" for requirement in project["dependencies"])
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head + requires)
    points = project["entry-points"]["omnisae"]
    (info / "entry_points.txt").write_text("[omnisae]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))


def run_python(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A fresh Python, with the plug-ins of one folder installed."""
    env = {**os.environ, "PYTHONPATH": str(path) if path else "", "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=120)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all the faulty plug-ins are installed side by side."""
    target = tmp_path_factory.mktemp("site")
    for source in sorted(DATA.glob("*/pyproject.toml")):
        install(source.parent, target)
    (target / "omnisae_garbled.py").write_text("def omnisae_extractors(:\n")
    info = target / "omnisae_garbled-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: omnisae-garbled\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[omnisae]\ngarbled = omnisae_garbled\n")
    return target


@pytest.fixture(scope="session")
def told(site: Path) -> dict[str, Any]:
    """What `omnisae plugins --json` says of each distribution."""
    done = run_python("-m", "omnisae", "plugins", "--json", path=site)
    assert done.returncode == 0, done.stderr
    return {record["distribution"]: record for record in json.loads(done.stdout)}


@pytest.fixture
def python(site: Path) -> Run:
    """Runs code in a fresh Python in which all the faulty plug-ins are installed."""

    def run(code: str, arguments: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        return run_python("-c", code, *arguments, path=site)

    return run


@pytest.fixture
def put() -> Callable[[str, Path], None]:
    """Installs one of the faulty plug-ins into a folder."""
    return lambda name, target: install(DATA / name, target)


@pytest.fixture
def python_at() -> Run:
    """Runs a fresh Python with the plug-ins of a folder installed."""
    return lambda path, *arguments: run_python(*arguments, path=path)
