"""The benchmark of gathering along generation measures what it says it does."""

import gc
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("omnisae_diffusion", reason="the benchmark runs diffusion models")
pytest.importorskip("omnisae_datasets", reason="the benchmark runs the denoisers of a world")

from benchmarks import diffusion_gathering as bench

from omnisae.config import HookConfig
from omnisae.store.writer import StoreWriter

AT = "unet.mid_block"


@pytest.fixture
def small() -> tuple[Any, Any]:
    dataset = bench.prompts(4)
    return dataset, bench.build("unet", dataset, 2, 2)


def test_both_ways_make_the_same_pictures_and_the_tokens_are_counted(small: tuple[Any, Any], tmp_path: Path) -> None:
    dataset, extractor = small
    points = extractor.resolve([HookConfig(at=AT)])
    ran: list[int] = []
    handle = extractor.model.unet.register_forward_hook(lambda module, x, y: ran.append(len(x[0])))
    found = bench.measure(dataset, extractor, points, 2, tmp_path)
    handle.remove()
    assert ran == [4] * 2 * 2 * 2 * 3, "two branches of two pictures: batches, steps, ways, rounds and one to warm up"
    assert found.tokens == 4 * 2 * 16, "one branch of 4 × 4 places"
    assert len(found.generate) == len(found.gather) == 2
    assert not list(tmp_path.iterdir()), "stores are gone"


def test_a_planted_cost_is_found(small: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, extractor = small
    points = extractor.resolve([HookConfig(at=AT)])
    monkeypatch.setattr(extractor.process, "generate", lambda asks, **more: time.sleep(0.05))
    monkeypatch.setattr(bench, "gathered", lambda *given: time.sleep(0.3) or 0)
    found = bench.measure(dataset, extractor, points, 1, tmp_path)
    assert 2 < found.ratios(0)[0] < 4, "0.3 s over two batches of 0.05 s"


def test_what_is_kept_of_every_step_shows(
    small: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = bench.prompts(2)
    steps = 6
    clean = bench.held(dataset, bench.build("unet", dataset, steps, 2), [AT], tmp_path)
    assert clean.last == pytest.approx(clean.second, abs=0.25)
    hoarder, kept = bench.build("unet", dataset, steps, 2), []
    read = hoarder._read
    monkeypatch.setattr(hoarder, "_read", lambda *given: kept.append(read(*given)) or kept[-1])
    hoarding = bench.held(dataset, hoarder, [AT], tmp_path)
    assert hoarding.last - hoarding.second == pytest.approx(steps - 2, abs=0.5)
    assert StoreWriter.append.__module__ == "omnisae.store.writer", "what was replaced is back"


def test_tensors_alive_count_their_storage_once() -> None:
    gc.collect()
    before = bench.alive()
    tensor = torch.zeros(1000)
    view = tensor[10:]
    assert bench.alive() - before == 4000
    del tensor, view
    assert bench.alive() == before


def test_the_wide_pipeline_is_stable_diffusion_by_class(tmp_path: Path) -> None:
    dataset = bench.prompts(1)
    pipe = bench.wide(channels=(32, 32), side=8)
    process = bench.PipelineProcess(pipe, steps=1, guidance=2.0, size=None, call={})
    config = bench.PipelineConfig(model="world:digits/unet", steps=1, guidance=2.0, batch_size=1, device="cpu")
    extractor = bench.DiffusionExtractor(config, process, dataset)
    points = extractor.resolve([HookConfig(at=at) for at in bench.AT["wide"]])
    assert [point.width for point in points] == [32, 32]
    assert bench.gathered(dataset, extractor, points, tmp_path) == 4 * 4 + 8 * 8
