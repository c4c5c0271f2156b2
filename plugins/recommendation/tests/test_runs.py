"""Whole runs: the quickstart finds what was planted; the published architecture runs with random weights."""

import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from omnisae.config_file import load
from omnisae.pipeline import run

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "recommendation"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    pytest.importorskip("omnisae_datasets", reason="omnisae-datasets is not installed")
    started = time.process_time()
    fast = ["extractor.epochs=30", "train.tokens=600000", "score.controls.permutations=19", "report.latents=4"]
    folder = run(load(CONFIGS / "quickstart.yaml", fast), tmp_path_factory.mktemp("runs") / "sessions")
    assert time.process_time() - started < 240, "two minutes on two cores"
    return folder


@pytest.fixture(scope="module")
def studies(quickstart):
    found = {s["type"]: s for s in json.loads((quickstart / "studies.json").read_text())["studies"]}
    assert all(not study["failed"] for study in found.values()), found
    return found


def test_latents_beat_neurons_and_components_for_what_was_planted(quickstart):
    first = {}
    for row in pq.read_table(quickstart / "concepts.parquet").to_pylist():
        first.setdefault(row["concept"], row)
    assert len(first) == 28
    beaten = [row["f1"] > max(row["control_neuron_f1"], row["control_pca_f1"]) for row in first.values()]
    assert np.mean(beaten) >= 0.8, first


def test_every_planted_concept_is_told_from_items_as_popular(studies):
    found = {f["name"]: f for f in studies["recommendation.matching"]["findings"]}
    assert found["F1, mean over concepts"]["value"] > 0.8 > 0.7 > found["F1, mean over concepts"]["control"]
    assert found["Concepts that a latent tells"]["value"] >= 25


def test_splicing_costs_little_and_the_mean_activation_nearly_all(studies):
    rows = {row["measure"]: row for row in studies["recommendation.ranking"]["tables"]["Before and after"]}
    hr = rows["HR@10"]
    assert hr["spliced"] > 0.9 * hr["untouched"]
    assert hr["untouched"] > 3 * max(hr["mean activation"], hr["by popularity"])


def test_switching_a_genre_on_or_off_moves_what_is_recommended_and_others_do_not(studies):
    for row in studies["recommendation.steering"]["tables"]["Concepts"]:
        way = 1 if row["switched"] == "on" else -1
        assert way * row["shift of share"] > abs(row["of others"]), row


def test_phrases_predict_where_their_latent_fires(studies):
    found = {f["name"]: f for f in studies["recommendation.phrases"]["findings"]}
    one = found["Confidence, mean over latents"]
    assert one["value"] > 0.6 > 0.45 > one["control"]


def test_the_published_architecture_runs_with_random_weights_and_judges_by_the_last_events(tmp_path):
    root = tmp_path / "ml-1m"
    root.mkdir()
    random = np.random.default_rng(0)
    lines = [
        f"{u}::{m}::5::{t}\n" for u in range(1, 41) for t, m in enumerate(random.choice(60, 30, replace=False) + 1)
    ]
    (root / "ratings.dat").write_text("".join(lines))
    films = [f"{m}::Film {m} (19{40 + m % 50})::{'War' if m % 3 else 'Comedy|Drama'}\n" for m in range(1, 61)]
    (root / "movies.dat").write_text("".join(films), encoding="latin-1")
    changes = [
        f"dataset.root={root}", "extractor.checkpoint=null", "extractor.random=true", "extractor.width=50",
        "train.tokens=2000", "train.batch=256", "autoencoder.latents=64", "autoencoder.activation.k=4",
        "score.min_positives=1", "score.controls.permutations=19", "score.effects=1", "report.latents=2",
        "score.studies=[{type: recommendation.ranking}]",
    ]  # fmt: skip
    folder = run(load(CONFIGS / "sasrec_ml1m_checkpoint.yaml", changes), tmp_path / "run")
    (study,) = json.loads((folder / "studies.json").read_text())["studies"]
    assert not study["failed"], study
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["tokens_evaluated"] == metrics["examples"]["test"] == 10, "a token a test user: the last event's"
    assert (folder / "report" / "index.html").exists()
