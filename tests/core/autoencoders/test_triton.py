"""Triton's kernels: their cases by the interpreter or on a GPU, and where they are not used at all."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from omnisae.autoencoders.kernels import device, plain
from omnisae.errors import TrainingError
from omnisae.testing.planted import planted

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


@pytest.mark.parametrize("k", [4, 64])
@pytest.mark.parametrize("outlier", [1.0, 300.0])
def test_enough_is_proposed_in_bf16(outlier: float, k: int) -> None:
    """`mixed` on a GPU: proposals hold 99.9% of what fp32 would pick, also where one dimension outweighs the others."""
    x, directions = planted(128, 400, 8, 512, 0)
    x[:, 5] *= outlier
    noise = torch.randn(4096, 128, generator=torch.Generator().manual_seed(1))
    encoder = torch.nn.functional.normalize(torch.cat([directions, noise]), dim=1)
    wanted = (x @ encoder.t()).topk(k, dim=1).indices
    half = (x.bfloat16() @ encoder.bfloat16().t()).float()
    found = torch.zeros_like(half).scatter(1, half.topk(plain.proposed(k, len(encoder)), dim=1).indices, 1.0)
    assert float(found.gather(1, wanted).mean()) >= 0.999


def test_without_a_c_compiler_the_remedy_is_told() -> None:
    pytest.importorskip("triton")
    from omnisae.autoencoders.kernels.triton import launch

    class Kernel:
        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            def start(*_: Any, **__: Any) -> None:
                raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")

            return start

    with pytest.raises(TrainingError, match="OMNISAE_KERNELS=plain"):
        launch.launch(Kernel(), (1,), torch.zeros(1))


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
