"""Whole runs: the quickstart finds what was planted, embeddings and real cut-outs reach their report."""

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnisae.config_file import load
from omnisae.pipeline import run

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "galaxies"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*have no row")]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    pytest.importorskip("omnisae_datasets", reason="omnisae-datasets is not installed")
    started = time.process_time()
    folder = run(load(CONFIGS / "quickstart.yaml"), tmp_path_factory.mktemp("runs") / "galaxies")
    assert time.process_time() - started < 240, "two minutes on two cores"
    return folder


@pytest.fixture(scope="module")
def studies(quickstart):
    found = {s["type"]: s for s in json.loads((quickstart / "studies.json").read_text())["studies"]}
    assert all(not study["failed"] for study in found.values()), found
    return found


def beaten(folder):
    """For every answer of the tree: whether the best latent (chosen on select) beats the best neuron and principal
    component on test, by |Spearman| with the fraction of votes, and by F1 for the clean sample."""
    rows = pq.read_table(folder / "concepts.parquet").to_pylist()
    about = {c["name"]: c for c in json.loads((folder / "concepts.json").read_text())["concepts"]}
    first = {}
    for row in rows:
        first.setdefault(row["concept"], row)
    out = {}
    for name, row in first.items():
        controls = about[name]["controls"]
        if about[name]["kind"] == "fraction":
            best = max(abs(controls[kind]["spearman"]) for kind in ("neuron", "pca"))
            out.setdefault(name, {})["spearman"] = abs(row["spearman"]) > best
        elif name.startswith("clean:"):
            best = max(row["control_neuron_f1"], row["control_pca_f1"])
            out.setdefault(name.removeprefix("clean:"), {})["f1"] = row["f1"] > best
    return out


def test_latents_beat_neurons_and_components_for_the_planted_morphology(quickstart):
    found = beaten(quickstart)
    assert len(found) == 22
    assert np.mean([any(ways.values()) for ways in found.values()]) >= 0.8, found
    assert np.mean([ways["spearman"] for ways in found.values()]) >= 0.7, found


def test_the_planted_confounder_is_flagged(studies):
    found = {f["name"]: f for f in studies["core.confounders"]["findings"]}
    follows = found["Latents that follow detector"]
    assert follows["value"] >= 5 > 1 > follows["control"]


def test_alignment_is_far_from_chance_and_beyond_components(studies):
    found = {f["name"]: f for f in studies["core.alignment"]["findings"]}
    assert found["Mean alignment"]["value"] > found["Mean alignment"]["control"]
    assert found["Mean alignment"]["p"] <= 0.01


def test_a_turned_galaxy_wakes_the_same_latents_and_not_others(studies):
    found = {f["name"]: f for f in studies["galaxies.consistency"]["findings"]}
    for kind in ("Rotation", "Flip"):
        one = found[f"{kind} consistency, mean over latents"]
        assert one["value"] > 0.35
        assert float(one["remark"].split()[0]) < 0.1, "another latent, as frequent, does not agree"


def test_the_report_shows_galleries_contours_and_the_sky(quickstart):
    pages = b"".join(path.read_bytes() for path in (quickstart / "report").rglob("*.js"))
    for words in ("Strongest galaxies", "Contours at", "Right ascension and declination"):
        assert words.encode() in pages
    assert b"http://" not in pages.replace(b"http://www.w3.org/", b"")


def small(*changed):
    return load(
        CONFIGS / "quickstart.yaml",
        ("score.effects=0", "report.latents=4", "report.examples=3", "score.controls.permutations=49", *changed),
    )


def test_embeddings_of_another_program_reach_the_same_report(tmp_path, world):
    """Without a model: alignment, sky and gallery work, consistency says why it cannot."""
    ids = [path.name.removesuffix(".fits").replace("NEG", "-") for path in sorted((world / "cutouts").iterdir())]
    vectors = np.random.default_rng(0).normal(size=(len(ids), 16)).astype(np.float32)
    pq.write_table(pa.table({"id_str": ids, "emb": vectors.tolist()}), tmp_path / "e.parquet")
    config = small(
        f"dataset.root={world}",
        f"extractor={{type: galaxies.embeddings, table: {tmp_path / 'e.parquet'}, minus: NEG}}",
        "hooks=[{at: emb}]",
        "autoencoder={latents: 32, activation: {type: core.topk, k: 4}}",
        "train.tokens=2000",
        "train.batch=16",
        "score.min_positives=1",
        "score.metrics=[core.spearman]",
    )
    folder = run(config, tmp_path / "run")
    assert (folder / "report" / "index.html").exists()
    told = {s["type"]: s["failed"] for s in json.loads((folder / "studies.json").read_text())["studies"]}
    assert "cannot be turned" in told["galaxies.consistency"]


def test_real_cutouts_run_to_their_report(tmp_path, real):
    """SDSS cut-outs with the classes of Galaxy Zoo 1, through the world's encoder, which never saw the sky."""
    config = small(
        f"dataset={{type: galaxies.cutouts, root: {real}, images: images, catalogue: labels.csv, id: OBJID, "
        "classes: [label], pixel_scale: 0.396}",
        "extractor.loss=none",
        "hooks=[{at: stages.3}]",
        "train.tokens=100000",
        "score.studies=[galaxies.consistency]",
    )
    folder = run(config, tmp_path / "run")
    assert (folder / "report" / "index.html").exists()
    rows = pq.read_table(folder / "concepts.parquet").to_pylist()
    best = {}
    for row in rows:
        best.setdefault(row["concept"], row)
    kinds = ("dont_know", "edge_on", "elliptical", "merger", "spiral_anticlockwise", "spiral_clockwise")
    assert set(best) <= {f"label={kind}" for kind in kinds}
    assert best["label=edge_on"]["auroc"] > 0.7
