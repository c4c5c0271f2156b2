"""Whole runs: the quickstart finds what was planted, the real-scale config works, real mammograms are read."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from omnisae.config_file import load
from omnisae.pipeline import run
from omnisae_mammography.plugin import Columns, ExamsConfig, MammographyTimmConfig

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "mammography"
CURVES = "{type: mammography.curves, concepts: [has_Mass], k: [1, 5], random: 1, most: 20}"
LETTERS = "{type: core.confounders, columns: [burned_in, scanner, laterality, view, implant], concepts: [has_Mass]}"
FEWER = (
    "dataset.root=world:phantoms?n=800",
    "train.tokens=400_000",
    "score.effects=1",
    "report.latents=4",
    "score.studies=[{type: mammography.ranking, concepts: [has_Mass]}, {type: mammography.localisation}, "
    f"{CURVES}, {LETTERS}]",
)
"""Two thirds of the pictures, enough for every claim below; little of what is measured for the pages alone."""


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    return run(load(CONFIGS / "quickstart.yaml", FEWER), tmp_path_factory.mktemp("runs") / "phantoms")


@pytest.mark.slow
def test_latents_beat_neurons_and_components_for_the_planted_lesions(quickstart):
    import pyarrow.parquet as pq

    table = pq.read_table(quickstart / "concepts.parquet").to_pylist()
    first = {}
    for row in table:
        if row["level"] == "token":
            first.setdefault(row["concept"], row)
    assert len(first) == 4
    better = [row["f1"] > max(row["control_neuron_f1"], row["control_pca_f1"]) for row in first.values()]
    assert np.mean(better) >= 0.8


@pytest.mark.slow
def test_the_planted_confounder_is_flagged(quickstart):
    studies = {s["type"]: s for s in json.loads((quickstart / "studies.json").read_text())["studies"]}
    assert all(not study["failed"] for study in studies.values()), studies
    found = {f["name"]: f["value"] for f in studies["core.confounders"]["findings"]}
    assert found["Latents that follow burned_in"] >= 3
    assert found["Latents that follow laterality"] <= 1
    localised = {f["name"]: f for f in studies["mammography.localisation"]["findings"]}
    for lesion in ("Mass", "Suspicious Calcification", "Architectural Distortion", "Suspicious Lymph Node"):
        assert localised[f"Pointing game, {lesion}"]["value"] > 0.8 > localised[f"Pointing game, {lesion}"]["control"]


@pytest.mark.slow
def test_mammo_clips_config_runs_on_phantoms(tmp_path):
    """The true architecture with random weights: everything else at its real scale but for size and number."""
    config = load(
        CONFIGS / "mammo_clip_b5.yaml",
        (
            "dataset.root=world:phantoms?n=32&seed=0",
            "extractor.image_size=[256,192]",
            "extractor.device=cpu",
            "autoencoder.latents=256",
            "train.tokens=4000",
            "train.batch=256",
            "score.min_positives=1",
            "score.effects=0",
            "report.latents=3",
        ),
    )
    folder = run(config, tmp_path / "b5")
    manifest = json.loads(next((folder / "store").rglob("manifest.json")).read_text())
    assert "2048" in json.dumps(manifest)
    assert (folder / "report" / "index.html").exists()


def test_real_mammograms_are_read(real, tmp_path):
    """Pictures of 16 bits from two collections, one with aligned masks; the breast is bright, lies on the left, and
    masks lie within it."""
    rows = [(f"0_{name}.png", "benign", f"segmentation/0_{name}_benign.png") for name in ("R-CC", "R-MLO")]
    for name in ("cropped_images", "segmentation"):
        (tmp_path / name).symlink_to(real / "gmic" / name)
    with (tmp_path / "lesions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "what", "mask"), *rows])
    data = ExamsConfig(
        root=str(tmp_path),
        images="cropped_images",
        table="lesions.csv",
        columns=Columns(image="file", concept="what", mask="mask"),
        pattern=r"(?P<patient>\d+)_(?P<laterality>[LR])-(?P<view>CC|MLO)",
    ).build()
    assert len(data) == 4
    assert len(set(data.groups("patient"))) == 1
    extractor = MammographyTimmConfig(model="test_efficientnet", image_size=(368, 240), device="cpu").build(data)
    for row in range(4):
        example = data.load(row)
        grey = example.input
        assert grey.shape == (2944, 1920)
        assert grey.dtype == np.uint16
        assert grey[:, :240].mean() > grey[:, -240:].mean()
        cells = extractor.kept(extractor.prepare(example)[None], (12, 8))[0].numpy()
        assert 0.1 < cells.mean() < 0.95
        for region in data.annotations().regions(row) or ():
            placed = extractor.place(region.place.where, example)
            assert 0 < placed.sum() < 0.2 * placed.size
            assert extractor.geometry.eight_bits(grey)[placed].mean() > 40
            assert len(data.partners(row)) == 1


def test_uncropped_real_mammograms_are_read(real):
    data = ExamsConfig(
        root=str(real / "nyu_bcc_images"), pattern=r"(?P<patient>\d+)_(?P<laterality>[LR])_(?P<view>CC|MLO)"
    ).build()
    assert len(data) == 4
    assert sorted(set(data.labels()["laterality"])) == ["L", "R"]
    for row in range(2):
        grey = data.load(row).input
        assert grey.shape == (3328, 2560)
        assert grey[:, :320].mean() > grey[:, -320:].mean()
