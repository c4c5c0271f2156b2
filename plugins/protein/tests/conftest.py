"""Small files of proteins whose truth is planted, and the world, written into a folder of the test run."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve()
if find_spec("omnisae_protein") is None or find_spec("esm") is None:
    collect_ignore_glob = ["test_*.py"]  # the plug-in is not installed here


def pytest_configure(config: pytest.Config) -> None:
    for words in (
        "concepts are in fewer",
        "annotated features",
        "annotated entries",
        "have random weights",
        "clusters of",
    ):
        config.addinivalue_line("filterwarnings", f"ignore:.*{words}")
    for words in ("repeat the sequence", "non-standard residues"):
        config.addinivalue_line("filterwarnings", f"ignore:.*{words}")


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Worlds are written into a folder of the test run, never into the user's cache."""
    os.environ["OMNISAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def world() -> Path:
    """Ninety-six proteins of the world."""
    datasets = pytest.importorskip("omnisae_datasets", reason="omnisae-datasets is not installed")
    found = datasets.resolve("world:motifs?n=96&seed=0")
    assert isinstance(found, Path)
    return found
