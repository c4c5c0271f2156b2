"""A small run that goes through every stage: vectors in a table, with planted directions as concepts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from omnisae.config_file import load
from omnisae.pipeline import run


def write_world(folder: Path, examples: int = 3000, width: int = 20, directions: int = 30, seed: int = 0) -> None:
    """Vectors made of a few of thirty directions, and a CSV that says which."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(directions, width))
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    active = rng.random((examples, directions)) < 0.06
    strength = active * rng.uniform(0.7, 1.3, active.shape)
    np.save(folder / "vectors.npy", (strength @ basis + 0.02 * rng.normal(size=(examples, width))).astype(np.float32))
    names = [f"direction{i}" for i in range(directions)]
    lines = [",".join(["id", *names])]
    lines += [",".join([f"row{i}", *(str(int(flag)) for flag in row)]) for i, row in enumerate(active)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "ids.txt").write_text("\n".join(f"row{i}" for i in range(examples)) + "\n")


def settings(folder: Path) -> dict[str, Any]:
    """The config of a run over that world, as a user would write it."""
    return {
        "name": "planted",
        "dataset": {"type": "core.table", "path": str(folder / "vectors.npy"), "ids": str(folder / "ids.txt"),
                    "labels_file": str(folder / "labels.csv")},
        "extractor": {"type": "core.vectors"},
        "hooks": [{"at": "vectors"}],
        "autoencoder": {"latents": 32, "activation": {"type": "core.topk", "k": 2}},
        "train": {"tokens": 200_000, "batch": 512, "lr": 3e-3, "checkpoint_every": 100, "log_every": 50},
        "score": {"controls": {"random": 64, "pca": 16, "permutations": 99}},
        "report": {"examples": 4, "random_examples": 2},
    }  # fmt: skip


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    write_world(folder)
    return folder


@pytest.fixture
def config(world: Path) -> dict[str, Any]:
    """A config to change at will."""
    return settings(world)


@pytest.fixture(scope="session")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Tests that change it copy it first."""
    out = tmp_path_factory.mktemp("finished") / "run"
    file = out.parent / "run.yaml"
    file.write_text(yaml.safe_dump(settings(world), sort_keys=False))
    return run(load(file), out)
