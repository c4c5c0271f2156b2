"""A race of our own contestants in earnest, small: processes, turns, judging, memory, and who fails."""

import sys
from pathlib import Path

import pytest
from benchmarks.bench import data, environment
from benchmarks.bench.race import Race, run
from benchmarks.bench.setting import Entry, Setting, from_store, ours, product, to_postings

SMALL = Setting(latents=512, width=64, k=8, batch=512)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_our_contestants_take_turns_and_one_that_fails_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "python", lambda peer: sys.executable)  # the peers' environment may not be there
    data.write(tmp_path, rows=8 * SMALL.batch, width=SMALL.width, held_out=SMALL.batch)
    entries = (
        ours("mixed", 2, ("agreement",)),
        from_store("exact", 2),
        to_postings(4),
        product("bf16"),
        Entry("nobody", "nobody"),
    )
    found = run(Race("small", "Small", entries, SMALL, rounds=2, marks=frozenset({3, 6})), tmp_path, tmp_path / "logs")
    assert list(found["absent"].items()) == [
        ("nobody", "ModuleNotFoundError: No module named 'benchmarks.bench.contestants.nobody'")
    ]
    assert {name: [turn["steps"] for turn in one["rounds"]] for name, one in found["contestants"].items()} == {
        "omnisae mixed": [2, 2],
        "from a cold store": [2, 2],
        "to posting lists": [4, 4],
        "product bf16": [2, 2],
    }
    assert all(turn["seconds"] > 0 for one in found["contestants"].values() for turn in one["rounds"])
    mixed = found["contestants"]["omnisae mixed"]
    assert [look["steps"] for look in mixed["curve"]] == [3, 6]
    assert mixed["curve"][-1]["explained_variance"] > 0
    assert mixed["answers"]["agreement"] > 0.99
    assert mixed["memory"]["weights"] >= 2 * SMALL.latents * SMALL.width * 4
    assert mixed["memory"]["optimiser"] >= 4 * SMALL.latents * SMALL.width * 4
