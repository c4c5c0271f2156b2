"""Signed codes: the two poles of a latent are scored as two latents would be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from omnisae.concepts.annotations import Interval, Region
from omnisae.concepts.configs import AurocConfig, IouConfig
from omnisae.concepts.score import score
from omnisae.config import ControlsConfig, ScoreConfig
from omnisae.extract.split import SELECT, TEST

CONFIG = ScoreConfig(
    metrics=(AurocConfig(), IouConfig()),
    controls=ControlsConfig(pca=2, random=8, permutations=99),
    min_positives=2,
    top=3,
)


def table(world: Any, out: Path) -> list[dict[str, Any]]:
    """The rows of the concept table."""
    score(world.postings(out / "codes"), world.dataset(), world.extractor(), world.source(), CONFIG, out)
    rows: list[dict[str, Any]] = pq.read_table(out / "concepts.parquet").to_pylist()
    return rows


def test_the_two_signs_of_a_latent_are_found_as_two_concepts(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    """Latent 1 is positive where it is warm, negative where it is cold, silent elsewhere; latent 0 is noise."""
    rng = np.random.default_rng(0)
    warmth = rng.integers(-1, 2, 120)
    codes = np.zeros((120, 2))
    codes[:, 0] = rng.normal(size=120)
    codes[:, 1] = warmth * rng.uniform(0.5, 2.0, 120)
    labels = {"warm": (warmth == 1).astype(float), "cold": (warmth == -1).astype(float)}
    world = world_of(codes, [1] * 120, np.arange(120) % 2 + 1, labels=labels, signed=True)
    rows = table(world, tmp_path)
    best = {name: next(row for row in rows if row["concept"] == name) for name in labels}
    for name, sign in (("warm", 1), ("cold", -1)):
        row = best[name]
        assert (row["latent"], row["sign"], row["f1"], row["auroc"], row["iou"]) == (1, sign, 1.0, 1.0, 1.0)
        assert row["q_value"] < 0.05
    assert pq.read_schema(tmp_path / "concepts.parquet").names[:3] == ["latent", "sign", "concept"]


def test_poles_are_scored_as_two_latents_with_the_same_codes(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 5, 60)
    tokens, latents = int(sizes.sum()), 5
    codes = rng.normal(size=(tokens, latents)) * (rng.random((tokens, latents)) < 0.5)
    rest: dict[str, Any] = {
        "labels": {"c": (rng.random(60) < 0.5).astype(float), "f": np.round(rng.random(60), 1)},
        "regions": lambda row: [Region("r", 0, Interval("position", 0, 1))] if row % 4 else [],
        "region_concepts": ["r"],
        "activations": rng.normal(size=(tokens, 4)),
    }
    split = np.arange(60) % 3
    signed = table(world_of(codes, sizes, split, signed=True, **rest), tmp_path / "signed")
    parts = np.hstack([np.maximum(codes, 0), np.maximum(-codes, 0)])
    plain = table(world_of(parts, sizes, split, **rest), tmp_path / "parts")
    assert len(signed) == len(plain) > 10
    for one, two in zip(signed, plain, strict=True):
        assert (one["latent"], one.pop("sign")) == (two["latent"] % latents, 1 if two["latent"] < latents else -1)
        one["latent"] = two["latent"]
        assert one.keys() == two.keys()
        np.testing.assert_equal(list(one.values()), list(two.values()))


@pytest.mark.parametrize("side", [SELECT, TEST])
def test_a_metric_sees_magnitudes(tmp_path: Path, world_of: Callable[..., Any], side: int) -> None:
    codes = np.array([[-2.0], [1.0], [-1.0], [0.0]] * 4)
    world = world_of(codes, [1] * 16, np.arange(16) // 8 + 1, signed=True)
    postings = world.postings(tmp_path / "codes")
    chosen = postings.split == side
    assert postings.strength(0)[chosen].tolist() == [0.0, 1.0, 0.0, 0.0] * 2
    assert postings.strength(1)[chosen].tolist() == [2.0, 0.0, 1.0, 0.0] * 2
    assert postings.maxima_select.tolist() == [1.0, 2.0]
