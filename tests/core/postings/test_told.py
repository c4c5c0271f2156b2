"""Posting lists of tokens that lie along axes of whole forwards."""

import json
from pathlib import Path

import numpy as np
import pytest

from omnisae.errors import StoreError
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint, Told
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.postings import Postings
from omnisae.postings.writer import PostingsWriter
from omnisae.tokens.filter import TokenFilter

TOLD = {"timestep": Told(argument="t", ticks=(900.0, 400.0, 0.0))}
PLAIN = HookPoint(name="h", at=("h",), pattern="example position d", width=3)


def write(out: Path, hook: HookPoint, *, signed: bool = False) -> Postings:
    """Two examples of 2 and 1 places, each place at the steps 0 and 1; latent 0 fires everywhere."""
    example = np.array([0, 0, 0, 0, 1, 1])
    coords = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [0, 0], [1, 0]])[:, 2 - len(hook.axes) :]
    with PostingsWriter(out, hook, TokenFilter(), 2, np.array([SELECT, TEST], np.uint8), signed=signed) as writer:
        n = len(example)
        writer.append(
            example, coords, np.zeros(n, np.uint8), np.arange(n + 1), np.zeros(n, np.int32), np.arange(n) + 1.0
        )
        return writer.finish(health(Reconstruction(), writer.counts, n, writer.poles))


def test_steps_are_known_whether_or_not_a_token_lies_there(tmp_path: Path) -> None:
    found = write(tmp_path / "codes", PLAIN.model_copy(update={"told": TOLD}))
    assert [found.sizes(row) for row in (0, 1)] == [{"timestep": 3, "position": 2}, {"timestep": 3, "position": 1}]
    coords, values = found.firing(0, 1)
    assert coords.tolist() == [[0, 0], [1, 0]]
    assert values.tolist() == [5.0, 6.0]
    square = HookPoint(name="h", at=("h",), pattern="example d", width=3, told=TOLD)
    assert write(tmp_path / "pooled", square).sizes(0) == {"timestep": 3}


@pytest.mark.parametrize("signed", [False, True])
def test_only_lists_that_need_it_are_of_the_newest_version(tmp_path: Path, signed: bool) -> None:
    told = write(tmp_path / "told", PLAIN.model_copy(update={"told": TOLD}), signed=signed)
    assert told.manifest.schema_version == 3
    assert told.hook.told == TOLD
    write(tmp_path / "plain", PLAIN, signed=signed)
    raw = json.loads((tmp_path / "plain" / "manifest.json").read_text())
    assert raw["schema_version"] == (2 if signed else 1)
    assert set(raw["hook"]) == {"name", "at", "view", "select", "call", "pattern", "sizes", "width"}


def test_a_version_newer_still_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "codes", PLAIN)
    file = tmp_path / "codes" / "manifest.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 4'))
    with pytest.raises(StoreError, match="schema version 4, and this omnisae reads up to 3"):
        Postings.open(tmp_path / "codes")
