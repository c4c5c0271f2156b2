"""One config through all stages, as a user runs it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import omnisae
from omnisae.config_file import load
from omnisae.errors import ConfigError, OmnisaeError, RunError, StoreError, TrainingError
from omnisae.lock import run_lock
from omnisae.pipeline import run

COLUMNS = [
    "latent", "concept", "level", "threshold", "precision", "recall", "recall_instance", "f1", "auroc", "iou",
    "spearman", "n_select", "n_test", "control_neuron_f1", "control_pca_f1", "control_random_f1", "p_value", "q_value",
]  # fmt: skip

pytestmark = pytest.mark.slow


def start(raw: dict[str, Any], out: Path, stages: list[str] | None = None) -> Path:
    """Write a config beside the run folder and run it, as the command does."""
    file = out.parent / f"{out.name}.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False))
    return run(load(file), out, stages)


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A finished run that a test may harm."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_the_run_folder_holds_what_the_docs_name(finished: Path) -> None:
    for name in ("config.yaml", "store/vectors", "sae/sae.safetensors", "sae/sae.json", "codes", "report/index.html"):
        assert (finished / name).exists(), name
    assert pq.read_schema(finished / "concepts.parquet").names == COLUMNS
    metrics = json.loads((finished / "metrics.json").read_text())
    assert {"explained_variance", "l0", "dead_fraction", "loss_recovered", "tokens", "seconds"} <= set(metrics)
    assert set(metrics["seconds"]) == {"extract", "train", "encode", "score", "report"}


def test_planted_directions_are_found_and_beat_their_controls(finished: Path) -> None:
    table = pq.read_table(finished / "concepts.parquet").to_pandas()
    notes = json.loads((finished / "concepts.json").read_text())["concepts"]
    assert len(notes) == 30
    best = table.sort_values("f1", ascending=False).drop_duplicates("concept")
    controls = best[["control_neuron_f1", "control_pca_f1", "control_random_f1"]].max(axis=1)
    assert (best["f1"] > controls).mean() >= 0.8
    assert (best["q_value"] < 0.05).mean() >= 0.8


def test_no_example_sits_on_two_sides(finished: Path) -> None:
    examples = json.loads((finished / "metrics.json").read_text())["examples"]
    assert examples == {"train": 1500, "select": 750, "test": 750}


def test_a_second_run_does_nothing_and_says_so(
    copy: Path, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    start(config, copy)
    said = capsys.readouterr().err
    for stage in ("extract", "train", "encode", "score", "report"):
        assert f"{stage}: nothing has changed, skipped" in said
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_only_what_depends_on_a_change_is_done_again(
    copy: Path, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config["score"]["top"] = 2
    start(config, copy)
    said = capsys.readouterr().err
    assert "train: nothing has changed, skipped" in said
    assert "score: done" in said
    assert "report: done" in said


def test_another_seed_trains_anew_in_the_same_folder(
    copy: Path, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config["train"]["seeds"] = [7]
    config["train"]["tokens"] = 20_000
    start(config, copy)
    said = capsys.readouterr().err
    assert "extract: nothing has changed, skipped" in said
    assert "train: done" in said
    assert json.loads((copy / "metrics.json").read_text())["autoencoder"].endswith("s7")


def test_the_same_config_gives_the_same_bytes(finished: Path, config: dict[str, Any], tmp_path: Path) -> None:
    again = start(config, tmp_path / "again")
    for name in ("sae/sae.safetensors", "concepts.parquet"):
        assert (again / name).read_bytes() == (finished / name).read_bytes(), name


def test_a_stage_alone_asks_for_the_ones_before_it(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no finished stage 'extract'") as error:
        start(config, tmp_path / "alone", ["train"])
    assert "run `omnisae extract` with the same config first" in str(error.value)


def test_a_stage_alone_refuses_what_another_config_made(copy: Path, config: dict[str, Any]) -> None:
    config["train"]["lr"] = 1e-4
    with pytest.raises(RunError, match="the stage 'train' in .* was made from another config"):
        start(config, copy, ["score"])


def test_two_runs_in_one_folder_are_refused_and_the_holder_is_named(copy: Path, config: dict[str, Any]) -> None:
    import os

    with run_lock(copy), pytest.raises(RunError, match=str(os.getpid())):
        start(config, copy)


def test_an_altered_shard_is_named_by_its_checksum(copy: Path, config: dict[str, Any]) -> None:
    shard = next((copy / "store" / "vectors").glob("*.safetensors"))
    raw = bytearray(shard.read_bytes())
    raw[-5] ^= 0xFF
    shard.write_bytes(raw)
    from omnisae.store.store import Store

    with pytest.raises(StoreError, match=shard.name):
        Store.open(copy / "store" / "vectors").verify()


def test_a_truncated_shard_is_extracted_again(
    copy: Path, config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    shard = next((copy / "store" / "vectors").glob("*.safetensors"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    start(config, copy)
    said = capsys.readouterr().err
    assert "outdated or damaged; its store is replaced" in said
    assert "train: nothing has changed, skipped" in said
    assert shard.read_bytes() == whole


def test_a_truncated_shard_stops_a_single_stage_with_its_name(copy: Path, config: dict[str, Any]) -> None:
    shard = next((copy / "store" / "vectors").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    config["train"]["lr"] = 1e-4
    with pytest.raises(StoreError, match=shard.name):
        start(config, copy, ["train"])


def test_a_misspelt_role_costs_nothing_that_is_done(copy: Path, config: dict[str, Any]) -> None:
    good = {**config}
    config["tokens"] = {"train": {"roles": ["contnet"]}}
    with pytest.raises(OmnisaeError, match="contnet"):
        start(config, copy)
    assert start(good, copy, ["extract"]) == copy
    from omnisae.store.store import Store

    assert Store.open(copy / "store" / "vectors").tokens == 3000


def test_parts_that_do_not_fit_are_refused_before_extraction(config: dict[str, Any], tmp_path: Path) -> None:
    config["autoencoder"]["nesting"] = {"type": "core.matryoshka_k", "ks": [1, 3]}
    with pytest.raises(ConfigError, match="the last is 3, and the activation rule keeps 2"):
        start(config, tmp_path)
    assert not (tmp_path / "store").exists()


def test_activations_that_are_not_numbers_name_their_example(
    world: Path, config: dict[str, Any], tmp_path: Path
) -> None:
    vectors = np.load(world / "vectors.npy")
    vectors[17, 3] = np.nan
    np.save(tmp_path / "vectors.npy", vectors)
    config["dataset"]["path"] = str(tmp_path / "vectors.npy")
    with pytest.raises(OmnisaeError, match="row17"):
        start(config, tmp_path / "run")


def test_labels_that_join_no_example_are_counted(world: Path, config: dict[str, Any], tmp_path: Path) -> None:
    lines = (world / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([lines[0], *("x" + line for line in lines[1:])]))
    config["dataset"]["labels_file"] = str(tmp_path / "labels.csv")
    with pytest.raises(OmnisaeError, match="3000|3,000"):
        start(config, tmp_path / "run")


def test_an_empty_class_is_left_out_and_said(world: Path, config: dict[str, Any], tmp_path: Path) -> None:
    lines = (world / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([lines[0] + ",never", *(line + ",0" for line in lines[1:])]))
    config["dataset"]["labels_file"] = str(tmp_path / "labels.csv")
    config["train"]["tokens"] = 20_000
    out = start(config, tmp_path / "run")
    notes = json.loads((out / "concepts.json").read_text())
    assert "never" not in [concept["name"] for concept in notes["concepts"]]
    assert any("never" in str(note) for note in notes["notes"])


def test_live_training_needs_no_store(config: dict[str, Any], tmp_path: Path) -> None:
    config["store"] = {"live": True}
    config["train"]["tokens"] = 40_000
    out = start(config, tmp_path / "live")
    assert not (out / "store").exists()
    assert json.loads((out / "metrics.json").read_text())["explained_variance"] > 0.3


def test_several_autoencoders_are_scored_where_asked(config: dict[str, Any], tmp_path: Path) -> None:
    config["train"] |= {"tokens": 20_000, "seeds": [0, 1], "sweep": {"activation.k": [2, 3]}}
    config["score"]["of"] = "all"
    out = start(config, tmp_path / "many")
    further = sorted(path.name for path in (out / "more").iterdir())
    assert len(further) == 3
    for name in further:
        assert (out / "more" / name / "report" / "index.html").exists()
        assert (out / "sae" / name / "sae.json").exists()
    assert 0 < json.loads((out / "metrics.json").read_text())["seed_agreement"] <= 1


def test_the_artifact_of_a_run_loads_and_reconstructs(finished: Path, world: Path) -> None:
    import torch

    sae = omnisae.load(finished / "sae")
    x = torch.from_numpy(np.load(world / "vectors.npy"))
    codes = sae.encode(x)
    assert len(codes) == 3000
    error = ((sae.decode(codes) - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert error < 0.4


def test_a_diverged_training_names_step_and_origin(config: dict[str, Any], tmp_path: Path) -> None:
    config["train"] |= {"lr": 1e18, "warmup": 0.0}
    with pytest.raises(TrainingError, match="step"):
        start(config, tmp_path / "run")


def test_what_was_removed_is_made_again(copy: Path, config: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "concepts.parquet").unlink()
    start(config, copy)
    said = capsys.readouterr().err
    assert "train: nothing has changed, skipped" in said
    assert "score: done" in said
    assert (copy / "concepts.parquet").exists()


def test_a_run_opens_from_its_folder(finished: Path) -> None:
    run = omnisae.open_run(finished)
    assert len(run.dataset) == 3000
    assert [point.width for point in run.points] == [20]
    with pytest.raises(RunError, match="is no run folder: it has no config.yaml"):
        omnisae.open_run(finished / "sae")
