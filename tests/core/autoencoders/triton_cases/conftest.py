"""Cases that `test_triton.py` runs in a process of their own: by Triton's interpreter on the CPU, or on a GPU."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from omnisae.autoencoders.kernels import device, plain

sys.path.insert(0, str(Path(__file__).parents[1]))

WHERE = torch.device(os.environ.get("OMNISAE_CASES_ON", "cpu"))


@pytest.fixture
def where() -> torch.device:
    """The device whose tensors Triton's kernels take in these cases."""
    return WHERE


@pytest.fixture(autouse=True)
def on_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "DEVICES", {WHERE.type})


@pytest.fixture
def start(make: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds an autoencoder of 40 latents over 16 dimensions. Started by PyTorch's operations: on many rows the
    interpreter is slow.
    """

    def build(*arguments: Any, **parts: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(device, "DEVICES", set())
            return make(*arguments, latents=40, width=16, **parts)

    return build


@pytest.fixture
def no_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where PyTorch's operations stand in for a kernel."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("not by a kernel")

    for name in ("top", "largest", "row_top", "inner_products"):
        monkeypatch.setattr(plain, name, refuse)
