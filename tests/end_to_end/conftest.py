"""A small run that goes through every stage: vectors in a table, with planted directions as concepts."""

from pathlib import Path

import numpy as np
import pytest
import yaml

COLUMNS = [
    "latent", "concept", "level", "threshold", "precision", "recall", "recall_instance", "f1", "auroc", "iou", "spearman",
    "n_select", "n_test", "control_neuron_f1", "control_pca_f1", "control_random_f1", "p_value", "q_value",
]  # fmt: skip


def write_world(folder: Path, examples: int = 600, width: int = 24, directions: int = 12, seed: int = 0) -> None:
    """Vectors made of a few of twelve directions, and a CSV that says which."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(directions, width))
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    active = rng.random((examples, directions)) < 0.15
    strength = active * rng.uniform(0.7, 1.3, active.shape)
    np.save(folder / "vectors.npy", (strength @ basis + 0.02 * rng.normal(size=(examples, width))).astype(np.float32))
    names = [f"direction{i}" for i in range(directions)]
    lines = [",".join(["id", *names])]
    lines += [",".join([f"row{i}", *(str(int(flag)) for flag in row)]) for i, row in enumerate(active)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "ids.txt").write_text("\n".join(f"row{i}" for i in range(examples)) + "\n")


def settings(folder: Path) -> dict:
    """The config of a run over that world, as a user would write it."""
    return {
        "name": "planted",
        "dataset": {"type": "core.table", "path": str(folder / "vectors.npy"), "ids": str(folder / "ids.txt"),
                    "labels": str(folder / "labels.csv")},
        "extractor": {"type": "core.table"},
        "hooks": [{"at": "table", "name": "vectors"}],
        "autoencoder": {"latents": 24, "activation": {"type": "core.topk", "k": 2}},
        "train": {"tokens": 120_000, "batch": 256, "lr": 3e-3, "checkpoint_every": 100, "log_every": 50},
        "score": {"controls": {"random": 64, "pca": 16, "permutations": 99}},
        "report": {"examples": 4, "random_examples": 2},
    }  # fmt: skip


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    write_world(folder)
    return folder


@pytest.fixture()
def config_file(world: Path, tmp_path: Path) -> Path:
    path = tmp_path / "planted.yaml"
    path.write_text(yaml.safe_dump(settings(world), sort_keys=False))
    return path
