import json
import socket

import pytest
import torch
from omnisae.errors import ConfigError
from omnisae.training import launch
from omnisae.training.trainer import train
from safetensors.torch import load_file

pytestmark = pytest.mark.slow


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _alone(toy, out, jobs):
    return train(jobs, toy.toy_streams(), toy.toy_samples(), toy.toy_config(), out, key="toy", progress=False)


def _lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("launcher", ["torchrun", "devices"])
def test_two_processes_learn_what_one_learns(toy, tmp_path, run_toy, launcher):
    """Started by torchrun, or by Fabric where the config asks for two devices. Backend: gloo, on the CPU."""
    out, port = tmp_path / "two", _free_port()
    if launcher == "torchrun":
        with_torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port)
        done = run_toy(out, "--shared", launcher=with_torchrun)
    else:
        done = run_toy(out, "--shared", TOY_DEVICES="2", MASTER_PORT=port)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "2 processes" in done.stderr + done.stdout
    assert "Warning" not in done.stderr
    one = _alone(toy, tmp_path / "one", toy.shared_jobs())
    for name, autoencoder in one.items():
        mine = load_file(out / f"{name}.safetensors")
        for key, tensor in autoencoder.state_dict().items():
            torch.testing.assert_close(mine[key], tensor, rtol=1e-4, atol=1e-5, msg=f"{name}.{key}")
    for here, there in zip(_lines(tmp_path / "one"), _lines(out), strict=True):
        assert (here["step"], here["tokens"], here["lr"]) == (there["step"], there["tokens"], there["lr"])
        for name, figures in here["jobs"].items():
            for figure in ("loss", "explained_variance", "l0", "dead"):
                assert there["jobs"][name][figure] == pytest.approx(figures[figure], rel=1e-3), (name, figure)


def test_one_process_goes_on_where_two_stopped(toy, tmp_path, run_toy):
    """A checkpoint does not depend on how many processes wrote it. Rules that look at a whole batch run, too."""
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", _free_port())
    done = run_toy(tmp_path, launcher=launcher)
    assert done.returncode == 0, done.stderr[-4000:]
    written = {job.name: load_file(tmp_path / f"{job.name}.safetensors") for job in toy.toy_jobs()}
    for name, autoencoder in _alone(toy, tmp_path, toy.toy_jobs()).items():
        for key, tensor in autoencoder.state_dict().items():
            assert torch.equal(tensor, written[name][key]), (name, key)


def test_a_batch_that_cannot_be_shared_out_is_refused(toy, monkeypatch):
    class TwoProcesses:
        def __init__(self, **settings):
            self.world_size, self.device = 3, torch.device("cpu")

    monkeypatch.setattr("lightning_fabric.Fabric", TwoProcesses)
    with pytest.raises(ConfigError, match="train.batch 32 does not divide among 3 processes"):
        launch.start(toy.toy_config(devices=3))
