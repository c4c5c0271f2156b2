"""The whole command under torchrun: the first process does what is done once, the others help to train."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

pytestmark = pytest.mark.slow


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_two_processes_make_the_run_of_one(config: dict[str, Any], tmp_path: Path) -> None:
    """Be it that they share out the batch, or the latents."""
    config["train"]["tokens"] = 20_000
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    together = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    runs = ((together, "two", "run"), ([], "one", "run"), ([], "divided", "extract"), (together, "divided", "train"))
    for launcher, out, command in runs:
        divided = ["--set", "train.latent_shards=2"] if (out, command) == ("divided", "train") else []
        words = [
            sys.executable,
            *launcher,
            "-m",
            "omnisae",
            command,
            str(tmp_path / "run.yaml"),
            "--out",
            out,
            *divided,
        ]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "two" / "report" / "index.html").exists()
    one, two, parts = (load_file(tmp_path / out / "sae" / "sae.safetensors") for out in ("one", "two", "divided"))
    for name in ("model.encoder", "model.decoder", "model.encoder_bias", "model.decoder_bias"):
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(parts[name], one[name], rtol=1e-4, atol=1e-5)
