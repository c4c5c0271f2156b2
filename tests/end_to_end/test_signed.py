"""Signed codes through all stages: axes whose two ends are two concepts, each found as one latent with two poles."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import omnisae
from omnisae.config_file import load
from omnisae.pipeline import run
from omnisae.postings.postings import Postings

AXES, WIDTH, EXAMPLES = 8, 16, 1600

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def axes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A run over vectors on two of eight axes each, towards either end; and the axes."""
    folder, rng = tmp_path_factory.mktemp("axes"), np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(WIDTH, AXES)))[0].T
    chosen = np.argsort(rng.random((EXAMPLES, AXES)), axis=1) < 2
    strength = chosen * rng.choice([-1, 1], chosen.shape) * rng.uniform(0.7, 1.3, chosen.shape)
    np.save(folder / "vectors.npy", (strength @ basis + 0.02 * rng.normal(size=(EXAMPLES, WIDTH))).astype(np.float32))
    names = [f"{end}{axis}" for axis in range(AXES) for end in ("warm", "cold")]
    labels = np.stack([strength > 0, strength < 0], axis=2).reshape(EXAMPLES, -1).astype(int)
    lines = [",".join(["id", *names]), *(",".join([f"r{i}", *map(str, row)]) for i, row in enumerate(labels))]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "ids.txt").write_text("\n".join(f"r{i}" for i in range(EXAMPLES)) + "\n")
    config: dict[str, Any] = {
        "name": "axes",
        "dataset": {"type": "core.table", "path": str(folder / "vectors.npy"), "ids": str(folder / "ids.txt"),
                    "labels_file": str(folder / "labels.csv")},
        "extractor": {"type": "core.vectors"},
        "hooks": [{"at": "vectors"}],
        "autoencoder": {"latents": 8, "activation": {"type": "core.abstopk", "k": 2}},
        "train": {"tokens": 80_000, "batch": 256, "lr": 5e-3, "seeds": [0, 1]},
        "score": {"controls": {"random": 32, "pca": 8, "permutations": 99}},
        "report": {"examples": 4, "random_examples": 2},
    }  # fmt: skip
    (folder / "run.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return run(load(folder / "run.yaml"), folder / "run"), basis


def test_both_ends_of_every_axis_are_the_two_poles_of_one_latent(axes: tuple[Path, np.ndarray]) -> None:
    folder, basis = axes
    table = pq.read_table(folder / "concepts.parquet").to_pandas().drop_duplicates("concept").set_index("concept")
    assert (table["f1"] > 0.95).all(), table["f1"]
    assert (table["q_value"] < 0.05).all()
    decoder = omnisae.load(folder / "sae").autoencoder.decoder_rows().numpy()
    for axis in range(AXES):
        warm, cold = table.loc[f"warm{axis}"], table.loc[f"cold{axis}"]
        assert warm["latent"] == cold["latent"]
        assert warm["sign"] == -cold["sign"]
        assert warm["sign"] * (decoder[warm["latent"]] @ basis[axis]) > 0.95, "the sign points to its end"


def test_health_is_of_latents_and_of_signed_codes(axes: tuple[Path, np.ndarray]) -> None:
    import torch

    folder, _ = axes
    opened, sae, postings = omnisae.open_run(folder), omnisae.load(folder / "sae"), Postings.open(folder / "codes")
    x = torch.from_numpy(np.load(folder.parent / "vectors.npy"))
    codes = sae.encode(x[opened.split != 0])
    test = x[opened.split == 2].double()
    decoded = sae.decode(sae.encode(test.float())).double()
    explained = 1 - ((test - decoded) ** 2).sum() / ((test - test.mean(0)) ** 2).sum()
    told = postings.health()
    assert told["explained_variance"] == pytest.approx(float(explained), abs=1e-4)  # the store is in half precision
    assert told["explained_variance"] > 0.9
    assert told["l0"] == 2
    fired = (codes.dense() != 0).sum(0)
    assert told["dead_fraction"] == pytest.approx(float((fired == 0).float().mean()))
    assert told["density"]["dead"] == int((fired == 0).sum())
    assert np.array_equal(postings.poles.per_latent(postings.counts), fired.numpy())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["dead_fraction"] == told["dead_fraction"]
    assert metrics["seed_agreement"] > 0.8, "a direction and its opposite are the same latent"


def test_statistics_are_kept_for_either_sign(axes: tuple[Path, np.ndarray]) -> None:
    folder, _ = axes
    sae, postings = omnisae.load(folder / "sae"), Postings.open(folder / "codes")
    assert sae.signed
    both = np.r_[sae.statistics["max"].numpy(), sae.statistics["negative:max"].numpy()]
    assert np.array_equal(both, postings.maxima_select)
    warm = pq.read_table(folder / "concepts.parquet").to_pandas().query("concept == 'warm0'").iloc[0]
    prefix = {1: "", -1: "negative:"}
    means = [
        sae.statistics[f"{prefix[sign]}concept_mean:warm0"][warm["latent"]] for sign in (warm["sign"], -warm["sign"])
    ]
    assert means[0] > 10 * means[1]


def test_the_report_names_poles(axes: tuple[Path, np.ndarray]) -> None:
    report = axes[0] / "report"
    text = (report / "index.html").read_text()
    assert "8 latents of two poles each" in text
    assert '"0-"' in (report / "data/latents/0.js").read_text()
