import json
import socket
import sys
from importlib.metadata import version

import pytest
import torch
from safetensors.torch import load_file

from omnisae.errors import ConfigError
from omnisae.training import launch
from omnisae.training.trainer import train

pytestmark = pytest.mark.slow


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module", params=["torchrun", "devices"])
def together(request, run_toy, tmp_path_factory):
    """A training by two gloo processes, started by torchrun, or by Fabric where the config asks for two devices."""
    out, port = tmp_path_factory.mktemp("two"), _free_port()
    if request.param == "torchrun":
        launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port)
        done = run_toy(out, "--all", launcher=launcher)
    else:
        done = run_toy(out, "--all", TOY_DEVICES="2", MASTER_PORT=port)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "2 processes" in done.stderr + done.stdout
    assert "Warning" not in done.stderr
    return out


@pytest.fixture(scope="module")
def alone(toy, tmp_path_factory):
    out = tmp_path_factory.mktemp("one")
    return out, _train(toy, out, toy.shared_jobs())


def _train(toy, out, jobs):
    torch.set_num_threads(1)
    return train(jobs, toy.toy_streams(), toy.toy_samples(), toy.toy_config(), out, key="toy", progress=False)


def _lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_learn_what_one_learns(alone, together):
    for name, autoencoder in alone[1].items():
        mine = load_file(together / f"{name}.safetensors")
        for key, tensor in autoencoder.state_dict().items():
            torch.testing.assert_close(mine[key], tensor, rtol=1e-4, atol=1e-5, msg=f"{name}.{key}")


def test_two_processes_log_what_one_logs(alone, together):
    for here, there in zip(_lines(alone[0]), _lines(together), strict=True):
        assert (here["step"], here["tokens"], here["lr"]) == (there["step"], there["tokens"], there["lr"])
        for name, figures in here["jobs"].items():
            for figure in ("loss", "explained_variance", "l0", "dead"):
                assert there["jobs"][name][figure] == pytest.approx(figures[figure], rel=1e-3), (name, figure)


def test_one_process_goes_on_where_two_stopped(toy, together):
    """A checkpoint does not depend on how many processes wrote it. Rules that look at a whole batch train, too."""
    jobs = toy.shared_jobs() + toy.toy_jobs()
    for name, autoencoder in _train(toy, together, jobs).items():
        written = load_file(together / f"{name}.safetensors")
        for key, tensor in autoencoder.state_dict().items():
            assert torch.equal(tensor, written[key]), (name, key)


def test_a_batch_that_cannot_be_shared_out_is_refused(toy, monkeypatch):
    class TwoProcesses:
        def __init__(self, **settings):
            self.world_size, self.device = 3, torch.device("cpu")

    monkeypatch.setattr("lightning_fabric.Fabric", TwoProcesses)
    with pytest.raises(ConfigError, match="train.batch 32 does not divide among 3 processes"):
        launch.start(toy.toy_config(devices=3))


def test_processes_part_before_they_end():
    import torch.distributed as dist

    from omnisae.training import launch

    launch._leave()  # alone: nothing to leave
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    launch._leave()
    assert not dist.is_initialized()


def test_a_package_that_is_only_asked_for_its_version_is_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "pip", raising=False)
    with launch._version_only("pip"):
        import pip

        assert pip.__version__ == version("pip")
        assert not hasattr(pip, "__path__")
    assert "pip" not in sys.modules
    with launch._version_only("torch"), launch._version_only("absent_package"):
        assert sys.modules["torch"] is torch
        assert "absent_package" not in sys.modules
    assert sys.modules["torch"] is torch
