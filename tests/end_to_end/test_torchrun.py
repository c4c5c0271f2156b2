"""The whole command under torchrun: the first process does what is done once, the others help to train."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from omnisae.config_file import load
from omnisae.pipeline import run

pytestmark = pytest.mark.slow


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_two_processes_make_the_run_of_one(config: dict[str, Any], tmp_path: Path) -> None:
    """Be it that they share out the batch, or the latents."""
    config["train"]["tokens"] = 20_000
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    run(load(tmp_path / "run.yaml"), tmp_path / "one", ["extract", "train"])
    shutil.copytree(tmp_path / "one", tmp_path / "divided", ignore=shutil.ignore_patterns("train", "sae"))
    for out, command, words in (("two", "run", ()), ("divided", "train", ("--set", "train.latent_shards=2"))):
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
        started = [sys.executable, *launcher, "-m", "omnisae", command, "run.yaml", "--out", out, *words]
        done = subprocess.run(started, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "two" / "report" / "index.html").exists()
    one, two, parts = (load_file(tmp_path / out / "sae" / "sae.safetensors") for out in ("one", "two", "divided"))
    for name in ("model.encoder", "model.decoder", "model.encoder_bias", "model.decoder_bias"):
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(parts[name], one[name], rtol=1e-4, atol=1e-5)
