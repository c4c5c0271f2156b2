"""The benchmark of extraction's cost measures what it says it does."""

import argparse
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks import extraction_overhead as bench

from omnisae.config import HookConfig
from omnisae.extract.loading import batches
from omnisae.store.store import Store

SMALL = {"model": "test_vit", "at": ["blocks.1"], "batches": 2, "batch_size": 4, "rounds": 2, "device": "cpu"}

pytestmark = pytest.mark.filterwarnings("ignore:.* has random weights")


@pytest.fixture
def options() -> argparse.Namespace:
    pytest.importorskip("omnisae_vision", reason="the benchmark runs a vision model")
    return argparse.Namespace(**SMALL, pictures=6)


def test_ways_take_turns_and_the_first_round_is_left_out() -> None:
    seen: list[tuple[str, int]] = []
    does: Any = {name: lambda batch, name=name: seen.append((name, batch)) for name in "ab"}
    took = bench.by_turns(does, [1, 2], rounds=2)  # type: ignore[list-item]
    one, other = [("a", 1), ("a", 2), ("b", 1), ("b", 2)], [("b", 1), ("b", 2), ("a", 1), ("a", 2)]
    assert seen == one + other + one
    assert {name: len(seconds) for name, seconds in took.items()} == {"a": 2, "b": 2}


def test_a_planted_cost_is_found() -> None:
    does: Any = {"forward": lambda batch: time.sleep(0.01), "extract": lambda batch: time.sleep(0.03)}
    took = bench.by_turns(does, [0, 0], rounds=2)  # type: ignore[list-item]
    for forward, extract in zip(took["forward"], took["extract"], strict=True):
        assert 2 < extract / forward < 4


def test_every_way_does_the_same_forward(options: argparse.Namespace, tmp_path: Path) -> None:
    dataset = bench.photographs(tmp_path / "pictures", 8)
    extractor = bench.build(options, dataset)
    points = extractor.resolve([HookConfig(at="blocks.1")])
    writing = bench.writers(tmp_path / "stores", points)
    does = bench.ways(extractor, points, writing)
    loaded = list(batches(dataset, extractor, range(8), 0))
    ran: list[int] = []
    with torch.no_grad():
        handle = extractor.model.blocks[1].register_forward_hook(lambda module, x, y: ran.append(len(y)))
        for way in does.values():
            way(loaded[0])
        handle.remove()
    assert ran == [4, 4, 4]
    does["store"](loaded[1])
    writer = writing[points[0].name]
    store = writer.finish()
    assert isinstance(store, Store)
    assert (store.tokens, store.manifest.examples) == (8 * 100, 8)


def test_decoding_counts_every_picture_and_some_processor_time(options: argparse.Namespace, tmp_path: Path) -> None:
    dataset = bench.photographs(tmp_path / "pictures", 6)
    rate, cores = bench.decoding(dataset, bench.build(options, dataset), 1)
    assert rate > 0
    assert 0 < cores < 64


def test_the_table(options: argparse.Namespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run(options, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("test_vit, blocks.1, batches of 4")
    assert [line.split()[0] for line in lines[1:]][:4] == ["forward", "extract", "store", "decode"]
    assert lines[-1].startswith("stage")
    assert "1.000 of forward (1.000 to 1.000)" in lines[1]
