"""What the benchmark computes of its data and of dictionaries, and how the baton is passed."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.bench import data, memory, quality
from benchmarks.bench.baton import Batches, Baton, Finished
from benchmarks.bench.plan import full, quick
from benchmarks.bench.spread import ratios, summary

from omnisae.testing.planted import planted


def test_explained_variance() -> None:
    x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0)) + 5
    assert quality.explained_variance(x, x) == 1
    assert quality.explained_variance(x, x.mean(0).expand_as(x)) == pytest.approx(0, abs=1e-6)


def test_dead_share_and_mean_max_cosine() -> None:
    assert quality.dead_share(torch.tensor([True, False, True, True])) == 0.25
    assert quality.mean_max_cosine(3 * torch.eye(4)[:3], torch.eye(4)) == pytest.approx(0.75)


def test_data_are_sums_of_the_planted_directions(tmp_path: Path) -> None:
    data.write(tmp_path, rows=64, width=16, held_out=32)
    x, truth = data.read(tmp_path, data.TRAIN), data.read(tmp_path, data.TRUTH)
    assert x.shape == (64, 16)
    assert data.read(tmp_path, data.HELD_OUT).shape == (32, 16)
    assert torch.equal(truth, planted(16, data.DIRECTIONS, data.ACTIVE, 1, 0)[1])
    # Mean of a coefficient's square 13/12, times the active directions.
    assert float(x.square().sum(1).mean()) == pytest.approx(data.ACTIVE * 13 / 12, rel=0.25)


def test_no_token_has_a_direction_twice() -> None:
    chosen = torch.tensor([[1, 2, 3], [4, 1, 4], [5, 5, 5]])
    assert data._with_repeats(chosen).tolist() == [1, 2]


def test_ratios_are_by_round_and_by_step() -> None:
    ours, theirs = [{"steps": 4, "seconds": 1.0}], [{"steps": 1, "seconds": 1.0}, {"steps": 1, "seconds": 9.0}]
    assert ratios(ours, theirs) == [4.0]
    assert summary([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "n": 3}


def test_the_baton_hands_out_batches_turn_by_turn() -> None:
    words = [{"do": "step", "steps": 2}, {"do": "evaluate"}, {"do": "step", "steps": 1}]
    replies = io.StringIO()
    batches = Batches(torch.arange(6.0)[:, None], batch=2)
    baton = Baton(batches, lambda word: word["do"], lambda: None, io.StringIO(lines(words)), replies)
    assert [next(baton)[:, 0].tolist() for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(Finished):
        next(baton)
    told = [json.loads(line) for line in replies.getvalue().splitlines()]
    assert len(told[0]["seconds"]) == 2
    assert told[1] == "evaluate"
    assert len(told[2]["seconds"]) == 1


def test_batches_go_around_without_a_short_one() -> None:
    batches = Batches(torch.arange(5.0)[:, None], batch=2)
    assert [next(batches)[0, 0].item() for _ in range(3)] == [0, 2, 0]


def test_the_peak_of_memory_begins_anew() -> None:
    before = memory.resident()
    block = torch.ones(32 * 2**20)
    assert memory.peak() - before > 100 * 2**20
    del block
    memory.settle()
    assert memory.peak() - before < 64 * 2**20


def test_races_have_names_of_their_own_and_no_peer_without_its_rule() -> None:
    for races in (quick(), full()):
        names = [race.name for race in races]
        assert len(set(names)) == len(names)
        for race in races:
            assert race.setting.rule == "topk" or "eai-sparsify" not in {entry.name for entry in race.entries}


def lines(words: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(word) + "\n" for word in words)
