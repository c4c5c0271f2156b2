import json
import os
import random
import signal
import threading

import pytest
import torch
from safetensors.torch import load_file

from omnisae.errors import StoreError, TrainingError
from omnisae.training.trainer import train


def _train(toy, out, *, key="toy", observe=None, jobs=None, **fields):
    return train(
        jobs or toy.toy_jobs(),
        toy.toy_streams(),
        toy.toy_samples(),
        toy.toy_config(**fields),
        out,
        key=key,
        observe=observe,
        progress=False,
    )


def _timeless(out):
    """The log without what a clock decides."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in ("seconds", "tokens_per_s")} for line in lines]


def _equal_in_every_tensor(a, b):
    """The checkpoints of two trainings, bit for bit: weights, buffers, moments, streams, figures."""
    states = [json.loads((out / "checkpoint" / "state.json").read_text()) for out in (a, b)]
    names = [[file["file"] for file in state["files"]] for state in states]
    assert names[0] == names[1]
    for name in names[0]:
        mine, other = load_file(a / "checkpoint" / name), load_file(b / "checkpoint" / name)
        assert mine.keys() == other.keys()
        assert any(key.startswith("adam.") for key in mine)
        for key, tensor in mine.items():
            assert tensor.dtype == other[key].dtype, key
            assert torch.equal(tensor, other[key]), f"{name}: {key}"
    for state in states:
        del state["progress"]["seconds"]
    assert states[0]["progress"] == states[1]["progress"]
    assert _timeless(a) == _timeless(b)


class _Stop(Exception):
    pass


def _stop_at(step):
    def observe(event):
        if event["event"] == "step" and event["step"] >= step:
            raise _Stop

    return observe


@pytest.mark.parametrize("step", [7, 21, 49, 56])
def test_a_broken_off_training_goes_on_bit_for_bit(toy, tmp_path, step):
    with pytest.raises(_Stop):
        _train(toy, tmp_path / "broken", observe=_stop_at(step))
    _train(toy, tmp_path / "broken")
    _train(toy, tmp_path / "whole")
    _equal_in_every_tensor(tmp_path / "broken", tmp_path / "whole")


@pytest.mark.slow
def test_killing_the_process_changes_nothing(toy, tmp_path, fork_toy):
    """kill -9 in the middle of steps and in the middle of writing checkpoints, then again, until it comes through."""
    dice = random.Random(int.from_bytes(os.urandom(4), "little"))
    deaths = [f"step:{dice.randint(11, 25)}", f"write:{dice.randint(1, 4)}", f"step:{dice.randint(31, 59)}"]
    out = tmp_path / "killed"
    for death in deaths:
        killed = fork_toy(out, "--die", death)
        assert killed.returncode == -signal.SIGKILL, (deaths, killed.stderr)
    ended = fork_toy(out)
    assert ended.returncode == 0, (deaths, ended.stderr)
    whole = _train(toy, tmp_path / "whole")
    _equal_in_every_tensor(out, tmp_path / "whole")
    for name, autoencoder in whole.items():
        for key, tensor in load_file(out / f"{name}.safetensors").items():
            assert torch.equal(tensor, autoencoder.state_dict()[key]), (deaths, name, key)
    left = {path.name for path in (out / "checkpoint").iterdir()}
    assert left == {"state.json", *(f"{job.name}.{toy.STEPS}.safetensors" for job in toy.toy_jobs())}


def test_ctrl_c_finishes_the_step_and_saves_it(toy, tmp_path):
    def interrupt(event):
        if event["event"] == "step" and event["step"] == 14:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        _train(toy, tmp_path / "stopped", observe=interrupt)
    state = json.loads((tmp_path / "stopped" / "checkpoint" / "state.json").read_text())
    assert state["progress"]["step"] in (14, 15)
    _train(toy, tmp_path / "stopped")
    _train(toy, tmp_path / "whole")
    _equal_in_every_tensor(tmp_path / "stopped", tmp_path / "whole")


def test_sigterm_ends_the_process_after_saving(toy, tmp_path):
    def interrupt(event):
        if event["event"] == "step" and event["step"] == 14:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        _train(toy, tmp_path, observe=interrupt)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_training_works_outside_the_main_thread(toy, tmp_path):
    made = {}
    thread = threading.Thread(target=lambda: made.update(_train(toy, tmp_path, tokens=64)))
    thread.start()
    thread.join()
    assert list(made) == ["topk", "batchtopk", "jumprelu"]


def test_the_log_has_no_line_twice_and_none_torn(toy, tmp_path):
    with pytest.raises(_Stop):
        _train(toy, tmp_path, observe=_stop_at(28))
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 35, "tok')  # what a kill in the midst of a write leaves
    _train(toy, tmp_path)
    assert [line["step"] for line in _timeless(tmp_path)] == [7, 14, 21, 28, 35, 42, 49, 56, 60]


def test_a_checkpoint_of_other_settings_is_refused_and_says_what_differs(toy, tmp_path):
    with pytest.raises(_Stop):
        _train(toy, tmp_path, observe=_stop_at(21))
    with pytest.raises(TrainingError) as caught:
        _train(toy, tmp_path, key="other", lr=0.002)
    text = str(caught.value)
    assert "holds a checkpoint of another training, at step 20: train.lr was 0.001 and is 0.002" in text
    assert f"remove {tmp_path / 'checkpoint'}" in text


def test_a_checkpoint_of_other_data_is_refused(toy, tmp_path):
    with pytest.raises(_Stop):
        _train(toy, tmp_path, observe=_stop_at(21))
    with pytest.raises(TrainingError, match="at step 20: its data or model differ"):
        _train(toy, tmp_path, key="other")


def _truncate(folder):
    path = next(folder.glob("topk.*.safetensors"))
    path.write_bytes(path.read_bytes()[:-10])


def _alter(folder):
    path = next(folder.glob("topk.*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def _lose(folder):
    next(folder.glob("topk.*.safetensors")).unlink()


def _tear(folder):
    path = folder / "state.json"
    path.write_text(path.read_text()[:-40])


def _forge(folder):
    path = folder / "state.json"
    path.write_text(path.read_text().replace('"step": 20', '"step": 21'))


def _renew(folder):
    path = folder / "state.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 99'))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (_truncate, r"topk.20.safetensors is damaged: its content does not match its checksum"),
        (_alter, r"topk.20.safetensors is damaged: its content does not match its checksum"),
        (_lose, r"topk.20.safetensors is damaged: the file is missing"),
        (_tear, r"state.json is damaged: it is no whole JSON"),
        (_forge, r"state.json is damaged: its content does not match its checksum"),
        (_renew, r"schema 99; this version of omnisae reads up to 1"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_the_remedy(toy, tmp_path, damage, text):
    with pytest.raises(_Stop):
        _train(toy, tmp_path, observe=_stop_at(21))
    damage(tmp_path / "checkpoint")
    with pytest.raises(TrainingError, match=text) as caught:
        _train(toy, tmp_path)
    assert f"remove {tmp_path / 'checkpoint'}" in caught.value.remedy


def test_a_full_disk_keeps_the_checkpoint_before(toy, tmp_path, monkeypatch):
    import omnisae.training.checkpoint as checkpoint

    save = checkpoint.save_file

    def full(tensors, path):
        if "batchtopk.30" in str(path):
            raise OSError(28, "No space left on device")
        save(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StoreError, match="disk is full"):
        _train(toy, tmp_path / "full")
    monkeypatch.undo()
    events = []
    _train(toy, tmp_path / "full", observe=events.append)
    assert events[0]["event"] == "resumed"
    assert events[0]["step"] == 20
    _train(toy, tmp_path / "whole")
    _equal_in_every_tensor(tmp_path / "full", tmp_path / "whole")
