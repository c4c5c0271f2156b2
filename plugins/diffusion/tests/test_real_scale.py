"""The configs of the real scale, run whole on tiny pipelines of the true classes, at the very hook points."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from omnisae.config_file import load
from omnisae.pipeline import run

HERE = Path(__file__).resolve()
CONFIGS = HERE.parents[3] / "configs" / "diffusion"
spec = importlib.util.spec_from_file_location("tiny_pipelines", HERE.with_name("tiny.py"))
assert spec is not None
assert spec.loader is not None
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)

FEW = (
    "extractor.device=cpu",
    "extractor.dtype=float32",
    "extractor.batch_size=12",
    "autoencoder.latents=48",
    "autoencoder.activation.k=4",
    "autoencoder.auxk.k=8",
    "train.tokens=1500",
    "train.batch=256",
    "score.min_positives=1",
    "score.controls.permutations=19",
    "store.workers=0",
    "report.latents=2",
    "report.examples=2",
    "report.random_examples=1",
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose more by several threads than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ran(tmp_path: Path, config: str, pipeline: str, *changes: str, prompts: int = 12) -> tuple[Path, dict[str, Any]]:
    """The run's folder, and the manifests of its stores by hook point."""
    things = ["cat", "dog", "tree", "house"]
    styles = ["ink", "chalk", "neon"]
    rows = [(things[i % 4], styles[i % 3]) for i in range(prompts)]
    told = [{"prompt": f"a {a} in {b}", "object": a, "style": b, "concept": a} for a, b in rows]
    pd.DataFrame(told).to_csv(tmp_path / "prompts.csv", index=False)
    tiny.PIPELINES[pipeline](folder=tmp_path / "model")
    given = (*FEW, f"dataset.table={tmp_path / 'prompts.csv'}", f"extractor.model={tmp_path / 'model'}", *changes)
    folder = run(load(CONFIGS / f"{config}.yaml", given), tmp_path / "run")
    assert (folder / "report" / "index.html").is_file()
    studies = json.loads((folder / "studies.json").read_text())["studies"] if (folder / "studies.json").exists() else []
    assert [study for study in studies if study["failed"]] == []
    manifests = [json.loads(path.read_text()) for path in sorted((folder / "store").rglob("manifest.json"))]
    return folder, {one["hook"]["at"][0]: one for one in manifests}


@pytest.mark.slow
def test_the_config_of_sd15_runs(tmp_path: Path) -> None:
    _, stores = ran(tmp_path, "sd15", "stable_diffusion", "extractor.variant=null", "extractor.steps=3")
    hook = stores["unet.up_blocks.1.attentions.1"]["hook"]
    assert hook["pattern"] == "(branch example) d y x"
    assert len(hook["told"]["timestep"]["ticks"]) == 3


@pytest.mark.slow
def test_the_config_of_sdxl_turbo_runs_at_all_four_blocks(tmp_path: Path) -> None:
    folder, stores = ran(tmp_path, "sdxl_turbo", "sdxl_turbo", "extractor.variant=null", "extractor.size=[64,64]")
    names = ("down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.0")
    ends = ("attentions.1", "attentions.0", "attentions.0", "attentions.1")
    assert set(stores) == {f"unet.{a}.{b}" for a, b in zip(names, ends, strict=True)}
    assert {one["hook"]["view"] for one in stores.values()} == {"update"}
    assert {one["hook"]["pattern"] for one in stores.values()} == {"example d y x"}  # no guidance, no branches
    tables = json.loads((folder / "studies.json").read_text())["studies"][0]["tables"]
    assert len(json.dumps(tables).split("unet.")) > 4


def test_the_config_of_pixart_runs_with_the_time_as_a_column(tmp_path: Path) -> None:
    changes = ("extractor.steps=3", "extractor.call.max_sequence_length=16")
    _, stores = ran(tmp_path, "pixart", "pixart", *changes)
    hook = stores["transformer.transformer_blocks.14"]["hook"]
    assert (hook["pattern"], hook["columns"], hook["width"]) == ("(branch example) (y x) d", ["timestep"], 17)


def test_the_config_of_flux_runs_on_blocks_of_two_streams_and_of_one(tmp_path: Path) -> None:
    changes = ("extractor.steps=2", "extractor.size=[64,64]", "extractor.call.max_sequence_length=16")
    _, stores = ran(tmp_path, "flux", "flux", *changes)
    assert set(stores) == {"transformer.transformer_blocks.18", "transformer.single_transformer_blocks.18"}
    for one in stores.values():
        assert one["hook"]["pattern"] == "example (y x) d"
        assert one["hook"]["sizes"] == {"y": 8, "x": 8}


def test_the_config_of_the_text_encoder_runs(tmp_path: Path) -> None:
    # Every word needs prompts on both sides of the split.
    changes = ("extractor.variant=null", "extractor.steps=2", "train.examples=0.2")
    _, stores = ran(tmp_path, "text_encoder", "stable_diffusion", *changes, prompts=48)
    (hook,) = [one["hook"] for one in stores.values()]
    assert hook["at"][0].endswith("encoder.layers.8")
    assert hook["pattern"] == "example ([bos] + position) d"
    assert not hook.get("told")
