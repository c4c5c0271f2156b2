"""Small files of proteins whose truth is planted, and the world, written into a folder of the test run."""

import os
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from omnisae.concepts.annotations import Annotations
from omnisae.concepts.level import Level
from omnisae.concepts.regions import region_labels
from omnisae.concepts.stream import stream
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.writer import PostingsWriter
from omnisae.tokens.filter import TokenFilter

HOOK = HookPoint(name="line", at=("line",), pattern="example residue d", width=3)
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


class Made:
    """Proteins of given lengths with codes and regions; half of them SELECT, half TEST; the first two TRAIN."""

    def __init__(
        self,
        path: Path,
        codes: np.ndarray,
        lengths: list[int],
        regions: list[Any],
        unknown: Any = None,
        concepts: tuple[str, ...] = ("Helix", "Active site: x"),
    ) -> None:
        self.split = np.array([0, 0] + [SELECT, TEST] * ((len(lengths) - 2) // 2), dtype=np.uint8)
        self.example = np.repeat(np.arange(len(lengths)), lengths)
        self.codes = codes
        held = np.flatnonzero(self.split[self.example] != 0)
        coords = np.concatenate([np.arange(n) for n in lengths])[:, None].astype(np.int32)
        rows, latents = codes[held].nonzero()
        with PostingsWriter(path, HOOK, TokenFilter(), codes.shape[1], self.split) as writer:
            offsets = np.r_[0, np.cumsum((codes[held] != 0).sum(axis=1))]
            roles = np.zeros(len(held), np.uint8)
            writer.append(self.example[held], coords[held], roles, offsets, latents, codes[held][rows, latents])
            self.postings = writer.finish(health(Reconstruction(), writer.counts, len(held), writer.poles))
        ids = [f"p{i}" for i in range(len(lengths))]
        known = Annotations(ids, {}, regions.__getitem__, list(concepts), unknown)
        labels = region_labels(self.postings, known, SimpleNamespace(ids=ids), None, 0.5)
        sides = [stream(labels, self.postings, side, np.arange(len(lengths))) for side in (SELECT, TEST)]
        self.level = Level(labels, *sides, tuple(range(len(concepts))), ())


@pytest.fixture(scope="session")
def make() -> type[Made]:
    """Posting lists and labels out of plain arrays."""
    return Made


@pytest.fixture(scope="session")
def world() -> Path:
    """Ninety-six proteins of the world."""
    datasets = pytest.importorskip("omnisae_datasets", reason="omnisae-datasets is not installed")
    found = datasets.resolve("world:motifs?n=96&seed=0")
    assert isinstance(found, Path)
    return found
