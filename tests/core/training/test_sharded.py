"""Latents divided among processes: what they learn, write and go on from is what one process does."""

import json
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.shard import WHOLE
from omnisae.errors import ConfigError, TrainingError
from omnisae.testing.processes import together
from omnisae.training import launch
from omnisae.training.guard import Guard
from omnisae.training.mesh import Mesh
from omnisae.training.trainer import train

CLOSE = {"rtol": 1e-4, "atol": 2e-6}
"""Sums over latents in another order, over 60 steps: 3e-7 was measured."""


RULES = ("nested", "relu", "topk", "batchtopk", "jumprelu")
"""A job of every rule, with each nesting, penalty and AuxK among them."""
SOME = ("nested", "revived", "jump")
"""Jobs of which shares of a batch average to the whole."""


def _launch(fork_toy, out, processes, shards, *args):
    return fork_toy(out, *args, processes=processes, TOY_LATENT_SHARDS=str(shards))


def _train(toy, out, jobs, observe=None):
    streams, samples = toy.toy_streams(), toy.toy_samples()
    return train(jobs, streams, samples, toy.toy_config(), out, key="toy", observe=observe, progress=False)


@pytest.fixture(scope="module")
def alone(toy, tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("alone")
    jobs = toy.shared_jobs() + toy.toy_jobs()
    return out, _train(toy, out, [job for job in jobs if job.name in (*RULES, *SOME)])


@pytest.fixture(scope="module")
def two(fork_toy, tmp_path_factory):
    """Two processes, each with half the latents."""
    out = tmp_path_factory.mktemp("two")
    done = _launch(fork_toy, out, 2, 2, "--only", ",".join(RULES))
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Warning" not in done.stderr
    return out


@pytest.fixture(scope="module")
def four(fork_toy, tmp_path_factory):
    """Two by two: half the batch, half the latents."""
    out = tmp_path_factory.mktemp("four")
    done = _launch(fork_toy, out, 4, 2, "--only", ",".join(SOME))
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def _lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def _checkpoint(out):
    files = json.loads((out / "checkpoint" / "state.json").read_text())["files"]
    return {file["job"]: load_file(out / "checkpoint" / file["file"]) for file in files}


def _near(found, expected, job):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].shape == tensor.shape, (job, name)
        torch.testing.assert_close(found[name], tensor, **CLOSE, msg=lambda m, n=name: f"{job} {n}: {m}")


def _same(first, second):
    """Bit for bit, of the jobs that the first has."""
    for job, expected in _checkpoint(first).items():
        for name, tensor in _checkpoint(second)[job].items():
            assert torch.equal(tensor, expected[name]), (job, name)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(alone, two):
    """The whole autoencoder, and all that a checkpoint holds."""
    for job in RULES:
        _near(load_file(two / f"{job}.safetensors"), alone[1][job].state_dict(), job)
        _near(_checkpoint(two)[job], _checkpoint(alone[0])[job], job)


@pytest.mark.slow
def test_they_pick_the_same_latents(alone, two, toy):
    rows = toy.activations(7)
    for job in RULES:
        autoencoder = alone[1][job]
        other = Autoencoder(autoencoder.config, toy.WIDTH, 0)
        other.load_state_dict(load_file(two / f"{job}.safetensors"))
        mine, theirs = autoencoder.encode(rows).dense() != 0, other.encode(rows).dense() != 0
        assert (mine != theirs).sum() <= 1e-3 * mine.sum(), job


@pytest.mark.slow
def test_they_log_what_one_logs(alone, two):
    for here, there in zip(_lines(alone[0]), _lines(two), strict=True):
        assert (here["step"], here["tokens"], here["lr"]) == (there["step"], there["tokens"], there["lr"])
        assert list(there["jobs"]) == list(RULES)
        for job in RULES:
            figures = here["jobs"][job]
            assert there["jobs"][job].keys() == figures.keys()
            for figure in ("loss", "explained_variance", "l0", "dead", "dead_share"):
                assert there["jobs"][job][figure] == pytest.approx(figures[figure], rel=1e-4), (job, figure)
            assert there["jobs"][job]["terms"] == pytest.approx(figures["terms"], rel=1e-4), job


@pytest.mark.slow
def test_shares_of_batch_and_latents_at_once(alone, four):
    for job in SOME:
        _near(load_file(four / f"{job}.safetensors"), alone[1][job].state_dict(), job)


@pytest.mark.slow
def test_a_killed_training_goes_on_bit_for_bit_and_on_one_process(toy, fork_toy, two, alone, tmp_path):
    """Killed while the first process writes its second checkpoint: the first one stands."""
    killed = _launch(fork_toy, tmp_path / "killed", 2, 2, "--die", "write:7")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    state = json.loads((tmp_path / "killed" / "checkpoint" / "state.json").read_text())
    assert state["progress"]["step"] == 10
    shutil.copytree(tmp_path / "killed", tmp_path / "fewer")
    again = _launch(fork_toy, tmp_path / "killed", 2, 2)
    assert again.returncode == 0, again.stderr[-4000:]
    _same(tmp_path / "killed", two)
    for job, autoencoder in _train(toy, tmp_path / "fewer", toy.toy_jobs()).items():
        _near(autoencoder.state_dict(), alone[1][job].state_dict(), job)


class _Stop(Exception):
    pass


@pytest.mark.slow
def test_two_processes_go_on_where_one_stopped(toy, fork_toy, alone, tmp_path):
    def stop(event):
        if event["event"] == "step" and event["step"] >= 35:
            raise _Stop

    with pytest.raises(_Stop):
        _train(toy, tmp_path, toy.toy_jobs(), observe=stop)
    more = _launch(fork_toy, tmp_path, 2, 2)
    assert more.returncode == 0, more.stderr[-4000:]
    for job in ("topk", "batchtopk", "jumprelu"):
        _near(load_file(tmp_path / f"{job}.safetensors"), alone[1][job].state_dict(), job)


@pytest.mark.parametrize(
    ("processes", "fields", "text"),
    [
        (3, {"latent_shards": 2}, "latent_shards 2: 3 processes cannot be arranged in groups of 2"),
        (1, {"latent_shards": 4}, "latent_shards 4: 1 process cannot be arranged in groups of 4"),
        (6, {"latent_shards": 2}, r"train.batch 32 does not divide among 3 processes \(6 / train.latent_shards 2\)"),
    ],
)
def test_what_cannot_be_divided_is_refused(toy, monkeypatch, processes, fields, text):
    class Fabric:
        def __init__(self, **settings):
            self.world_size, self.device = processes, torch.device("cpu")

    monkeypatch.setattr("lightning_fabric.Fabric", Fabric)
    with pytest.raises(ConfigError, match=text) as caught:
        launch.start(toy.toy_config(**fields))
    assert caught.value.remedy


def _gradients(toy, shard, seed=0):
    """An autoencoder in double precision with gradients of a fixed size, of which each process holds its rows."""
    autoencoder = Autoencoder(toy.parts(), toy.WIDTH, 0, shard).double()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in autoencoder.named_parameters():
        rows = toy.LATENTS if name in autoencoder.divided else len(parameter)
        whole = torch.randn(rows, *parameter.shape[1:], generator=generator, dtype=torch.float64)
        parameter.grad = whole[autoencoder.held] if name in autoencoder.divided else whole
    return autoencoder


@pytest.mark.parametrize("most", [0.5, 1e6])
def test_the_norm_that_is_clipped_is_that_of_all_latents(toy, most):
    whole = _gradients(toy, WHOLE)
    torch.nn.utils.clip_grad_norm_(expected := list(_gradients(toy, WHOLE).parameters()), most)

    def work(shard, world):
        part = _gradients(toy, shard)
        Mesh(world=world, shard=shard).clip(part, most)
        return {name: parameter.grad for name, parameter in part.named_parameters()}

    parts = together(1, 3, work)
    for (name, _), parameter in zip(whole.named_parameters(), expected, strict=True):
        found = torch.cat([part[name] for part in parts]) if name in whole.divided else parts[0][name]
        torch.testing.assert_close(found, parameter.grad, rtol=1e-12, atol=0)


def test_gradients_are_averaged_over_those_that_hold_the_same(toy):
    def work(shard, world):
        part = _gradients(toy, shard, seed=world.rank)
        part.encoder_bias.grad = None if world.rank < 2 else part.encoder_bias.grad
        mine = {name: parameter.grad for name, parameter in part.named_parameters()}
        before = {name: None if grad is None else grad.clone() for name, grad in mine.items()}
        Mesh(world=world, shard=shard).average(part)
        return before, {name: parameter.grad for name, parameter in part.named_parameters()}

    (a, a2), (b, b2), (c, c2), (d, d2) = together(2, 2, work)
    for left, right in ((a2, c2), (b2, d2)):
        assert all(torch.equal(left[name], right[name]) for name in left)
    torch.testing.assert_close(a2["encoder"], (a["encoder"] + c["encoder"]) / 2)
    torch.testing.assert_close(b2["decoder"], (b["decoder"] + d["decoder"]) / 2)
    torch.testing.assert_close(b2["encoder_bias"], d["encoder_bias"] / 2, msg="no loss has reached it on one process")
    everyone = sum(part["decoder_bias"] for part in (a, b, c, d)) / 4
    assert torch.equal(a2["decoder_bias"], b2["decoder_bias"])
    torch.testing.assert_close(a2["decoder_bias"], everyone)


def test_a_broken_tensor_of_one_process_ends_them_all():
    """Else the others would wait for it forever."""

    def work(shard, world):
        tensors = {"model.encoder": torch.ones(3), "model.decoder": torch.ones(3)}
        tensors["model.decoder"][1] = torch.nan if world.rank == 1 else 1.0
        with pytest.raises(
            TrainingError, match="after step 7, the tensor 'model.decoder' of autoencoder 'a' holds NaN"
        ):
            Guard({}).weights(7, "a", tensors, world.least)

    together(1, 3, work)
