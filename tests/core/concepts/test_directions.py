"""The components of wide tokens are those of the full covariance."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnisae.concepts import directions
from omnisae.config import ControlsConfig
from omnisae.hooks.point import HookPoint, Told


def test_wide_tokens_have_the_same_leading_components(
    tmp_path: Path, world_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    scales = np.array([9.0, 6.0, 4.0, 2.5, 1.5, 1.0, 0.6, 0.4])
    turned = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    activations = (rng.normal(size=(300, 8)) * scales @ turned + 3.0).astype(np.float32)
    sides = np.where(np.arange(300) < 200, 0, 1 + np.arange(300) % 2)
    world = world_of(np.ones((300, 2)), [1] * 300, sides, activations=activations)
    world.hook = HookPoint(name="wide", at=("wide",), pattern="example position d", width=8)
    postings = world.postings(tmp_path / "codes")
    config = ControlsConfig(neurons=False, pca=3, random=0)
    found = {}
    for widest in (8, 7):
        monkeypatch.setattr(directions, "WIDEST", widest)
        found[widest] = directions.families(postings, world.source(), config, 0)[1][0].directions
    cosines = torch.linalg.svdvals(found[8].T @ found[7])
    torch.testing.assert_close(cosines, torch.ones(3), rtol=0, atol=1e-3)


@pytest.mark.parametrize("widest", [8, 7])
def test_columns_are_no_controls(
    tmp_path: Path, world_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, widest: int
) -> None:
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(300, 8)).astype(np.float32)
    told = rng.integers(0, 1000, (300, 1)).astype(np.float32)
    sides = np.where(np.arange(300) < 200, 0, 1 + np.arange(300) % 2)
    monkeypatch.setattr(directions, "WIDEST", widest)
    config, found = ControlsConfig(pca=3, random=5), []
    hook = HookPoint(name="h", at=("h",), pattern="example position d", width=8)
    ticks = {"t": Told(argument="t", ticks=(0.0,))}
    # The axis of the made-up tokens is the told one.
    wide = HookPoint(name="h", at=("h",), pattern="example d", width=9, told=ticks, columns=("t",))
    for name, values, at in (("plain", activations, hook), ("wide", np.hstack([activations, told]), wide)):
        world = world_of(np.ones((300, 2)), [1] * 300, sides, activations=values)
        world.hook = at
        found.append(directions.families(world.postings(tmp_path / name), world.source(), config, 0))
    (mean, plain), (same_mean, same) = found
    assert torch.equal(mean, same_mean)
    assert [family.slots for family in same] == [16, 6, 5]
    for one, other in zip(plain[1:], same[1:], strict=True):
        torch.testing.assert_close(one.directions, other.directions)
