"""Triton's kernels: their cases by the interpreter or on a GPU, and where they are not used at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from omnisae.autoencoders.kernels import device

CASES = sorted((Path(__file__).parent / "triton_cases").glob("[a-z]*s.py"))
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: the kernels are run by Triton's interpreter")
CPU_STEP = """
import sys, torch
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import TopKConfig
from omnisae.config import AutoencoderConfig
import omnisae.cli
autoencoder = Autoencoder(AutoencoderConfig(latents=16, activation=TopKConfig(k=2)), 4, 0)
x = torch.randn(64, 4)
autoencoder.initialise(x)
step = autoencoder(x)
step.loss.backward()
autoencoder.before_step()
autoencoder.after_step(step.fired, 64)
print([name for name in sys.modules if name.split(".")[0] == "triton"])
"""


def run(*command: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TRITON_"))}
    done = subprocess.run([sys.executable, *command], env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
@pytest.mark.parametrize("where", ["cpu", pytest.param("cuda", marks=GPU)])
def test_kernels(case: Path, where: str) -> None:
    """In a process of its own: Triton reads TRITON_INTERPRET when it is imported."""
    pytest.importorskip("triton")
    told = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", str(case)),
        OMNISAE_CASES_ON=where,
        TRITON_INTERPRET="1" if where == "cpu" else "0",
    )
    assert "passed" in told
    assert "skipped" not in told


def test_no_triton_on_a_cpu() -> None:
    assert run("-c", CPU_STEP).strip() == "[]"


def test_takes_fp32_where_triton_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    single, double = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    assert not device.takes(single)
    monkeypatch.setattr(device, "DEVICES", {"cpu"})
    monkeypatch.setattr(device, "find_spec", lambda name: object())
    device._ready.cache_clear()
    assert device.takes(single, single)
    assert not device.takes(single, double)
    monkeypatch.setenv(device.SWITCH, "plain")
    assert not device.takes(single)
    monkeypatch.delenv(device.SWITCH)
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    device._ready.cache_clear()
    assert not device.takes(single)
    device._ready.cache_clear()
