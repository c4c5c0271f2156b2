import json
import math

import pytest
import torch

from omnisae.errors import ConfigError, StoreError, TrainingError
from omnisae.training.trainer import discard, train


def _train(toy, out, jobs=None, *, key="toy", streams=None, samples=None, observe=None, **fields):
    return train(
        jobs or toy.toy_jobs(),
        streams or toy.toy_streams(),
        samples or toy.toy_samples(),
        toy.toy_config(**fields),
        out,
        key=key,
        observe=observe,
        progress=False,
    )


def _same(a, b):
    mine, other = a.state_dict(), b.state_dict()
    assert mine.keys() == other.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, other[name]), name


def _lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_training_together_equals_training_alone(toy, tmp_path):
    together = _train(toy, tmp_path / "all")
    assert list(together) == ["topk", "batchtopk", "jumprelu"]
    for job in reversed(toy.toy_jobs()):
        torch.manual_seed(hash(job.name) % 1000)  # the surrounding randomness must not matter either
        alone = _train(toy, tmp_path / job.name, [job])
        _same(alone[job.name], together[job.name])


def test_training_leaves_the_global_randomness_alone(toy, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _train(toy, tmp_path, toy.toy_jobs()[:1], tokens=64)
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_gives_another_autoencoder(toy, tmp_path):
    from omnisae.training.jobs import Job

    jobs = [Job(f"s{seed}", "first", toy.parts(), seed) for seed in (0, 1)]
    made = _train(toy, tmp_path, jobs, tokens=64)
    assert not torch.equal(made["s0"].decoder, made["s1"].decoder)


def test_each_batch_is_read_once(toy, tmp_path):
    streams = toy.toy_streams()
    _train(toy, tmp_path, streams=streams)
    assert [stream.read for stream in streams.values()] == [toy.STEPS, toy.STEPS]


def test_learning_lowers_the_loss_and_says_so(toy, tmp_path):
    events = []
    _train(toy, tmp_path, tokens=toy.BATCH * 300, lr=3e-3, log_every=50, observe=events.append)
    lines = _lines(tmp_path)
    assert [line["step"] for line in lines] == [50, 100, 150, 200, 250, 300]
    assert [line["tokens"] for line in lines] == [toy.BATCH * line["step"] for line in lines]
    for job in ("topk", "batchtopk", "jumprelu"):
        first, last = lines[0]["jobs"][job], lines[-1]["jobs"][job]
        assert last["loss"] < first["loss"]
        assert last["explained_variance"] > 0.6
        assert 0 <= last["dead_share"] <= 1
        assert last["dead"] == round(last["dead_share"] * toy.LATENTS)
    assert lines[-1]["jobs"]["topk"]["l0"] <= 3
    told = [event for event in events if event["event"] == "step"]
    assert [event["step"] for event in told] == [line["step"] for line in lines]
    assert all(event["steps"] == 300 for event in told)
    assert any(path.name.startswith("events") for path in (tmp_path / "tensorboard").iterdir())


def test_explained_variance_is_that_of_the_whole_window(toy, tmp_path):
    """One window over all steps, at a rate too small to move anything: the figure is the initial autoencoder's."""
    from omnisae.training.jobs import Job

    job = Job("still", "first", toy.parts("core.relu"), 0)
    _train(toy, tmp_path, [job], lr=1e-30, log_every=60)
    autoencoder = _train(toy, tmp_path, [job], lr=1e-30, log_every=60)["still"]
    stream = toy.toy_streams()["first"]
    x = torch.cat([stream.next() for _ in range(toy.STEPS)])
    guess = autoencoder.decode(autoencoder.encode(x)).double()
    centre = toy.toy_samples()["first"].double().mean(0)
    expected = 1 - (x - guess).square().sum() / (x - centre).square().sum()
    assert _lines(tmp_path)[-1]["jobs"]["still"]["explained_variance"] == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("rule", ["core.topk", "core.batchtopk", "core.jumprelu", "core.relu"])
def test_bf16_trains_on_the_cpu(toy, tmp_path, rule):
    from omnisae.training.jobs import Job

    job = Job("half", "first", toy.parts(rule), 0)
    made = _train(toy, tmp_path, [job], precision="bf16", tokens=toy.BATCH * 150, lr=3e-3)["half"]
    assert all(t.dtype == torch.float32 for t in made.state_dict().values() if t.is_floating_point())
    assert _lines(tmp_path)[-1]["jobs"]["half"]["explained_variance"] > 0.5


def test_mixed_precision_does_not_round_the_activations(toy, tmp_path):
    """A constant far from zero is all that bf16 would see of these; the variance lies in the digits it drops."""
    from omnisae.training.jobs import Job

    rows = toy.activations() * 1e-2 + 100.0
    streams = {"first": toy.ArrayStream(rows)}
    job = Job("half", "first", toy.parts(), 0)
    _train(toy, tmp_path, [job], precision="bf16", streams=streams, samples={"first": rows[:500]}, lr=3e-3)
    assert _lines(tmp_path)[-1]["jobs"]["half"]["explained_variance"] > 0.3


def test_clipping_bounds_what_a_step_can_do(toy, tmp_path):
    plain = _train(toy, tmp_path / "plain", toy.toy_jobs()[:1])
    clipped = _train(toy, tmp_path / "clipped", toy.toy_jobs()[:1], clip=1e-9)
    assert not torch.equal(plain["topk"].encoder, clipped["topk"].encoder)


def test_a_finished_training_returns_at_once_until_discarded(toy, tmp_path):
    first = _train(toy, tmp_path)
    streams, events = toy.toy_streams(), []
    again = _train(toy, tmp_path, streams=streams, observe=events.append)
    for name, autoencoder in first.items():
        _same(autoencoder, again[name])
    assert [event["event"] for event in events] == ["resumed"]
    assert len(_lines(tmp_path)) == math.ceil(toy.STEPS / 7)
    discard(tmp_path)
    assert not (tmp_path / "checkpoint").exists()
    assert (tmp_path / "metrics.jsonl").exists()


def test_no_gradients_are_left(toy, tmp_path):
    made = _train(toy, tmp_path, tokens=64)
    assert all(p.grad is None for autoencoder in made.values() for p in autoencoder.parameters())
    assert not any(autoencoder.training for autoencoder in made.values())


def test_nan_activations_are_traced_to_their_origin(toy, tmp_path):
    streams = toy.toy_streams()
    read = streams["second"].next

    def poisoned():
        rows = read()
        if streams["second"].read == 24:
            rows = rows.clone()
            rows[3, 5] = float("nan")
        return rows

    streams["second"].next = poisoned
    with pytest.raises(TrainingError) as caught:
        _train(toy, tmp_path, streams=streams)
    text = str(caught.value)
    assert "step 24: the activations of hook point 'second' hold NaN or infinity" in text
    assert "they came from second, batch 23 (row 3 of the batch)" in text
    assert "the checkpoint of step 20" in text
    state = json.loads((tmp_path / "checkpoint" / "state.json").read_text())
    assert state["progress"]["step"] == 20
    mended = _train(toy, tmp_path)  # with clean data it goes on from step 20 and ends as if nothing had been
    untroubled = _train(toy, tmp_path / "untroubled")
    for name, autoencoder in mended.items():
        _same(autoencoder, untroubled[name])


def test_a_diverging_loss_names_step_autoencoder_and_origin(toy, tmp_path, monkeypatch):
    from omnisae.autoencoders.autoencoder import Autoencoder

    forward = Autoencoder.forward

    def diverging(self, x):
        step = forward(self, x)
        if self.seed == 1 and int(self.seen) == 4 * toy.BATCH:
            step.loss.data.fill_(float("inf"))
        return step

    monkeypatch.setattr(Autoencoder, "forward", diverging)
    with pytest.raises(TrainingError) as caught:
        _train(toy, tmp_path)
    text = str(caught.value)
    assert "step 5: loss of autoencoder 'batchtopk' became inf on finite activations" in text
    assert "first, batch 4" in text
    assert "train.lr" in text
    assert "no checkpoint was written yet" in text


def test_broken_weights_are_never_saved(toy, tmp_path, monkeypatch):
    """A gradient that is NaN under a finite loss shows in the loss only a step later."""
    from omnisae.autoencoders.autoencoder import Autoencoder

    before_step = Autoencoder.before_step

    def poison(self):
        before_step(self)
        if self.seed == 0 and int(self.seen) == 9 * toy.BATCH:
            self.encoder.grad[0, 0] = float("nan")

    monkeypatch.setattr(Autoencoder, "before_step", poison)
    with pytest.raises(TrainingError, match="after step 10, the tensor 'model.encoder' of autoencoder 'topk'"):
        _train(toy, tmp_path, toy.toy_jobs()[:1])
    assert not (tmp_path / "checkpoint" / "state.json").exists()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"streams": {}}, TrainingError, "for which there is no stream"),
        ({"samples": {"frist": torch.zeros(4, 16)}}, TrainingError, "did you mean 'frist'"),
        (
            {"samples": {"first": torch.full((4, 16), float("nan"))}},
            TrainingError,
            r"'first' holds NaN or infinity \(row 0\)",
        ),
        ({"accelerator": "tpu9"}, ConfigError, "train.accelerator 'tpu9' with 1 device"),
        ({"batch": 64}, TrainingError, "gives batches of 32 tokens; train.batch is 64"),
    ],
)
def test_what_does_not_fit_is_refused(toy, tmp_path, change, error, text):
    job = toy.toy_jobs()[0]
    given = {"streams": toy.toy_streams(), "samples": toy.toy_samples()} | change
    with pytest.raises(error, match=text):
        train(
            [job],
            given.pop("streams"),
            given.pop("samples"),
            toy.toy_config(**given),
            tmp_path,
            key="toy",
            progress=False,
        )


def test_two_jobs_of_one_name_are_refused(toy, tmp_path):
    with pytest.raises(TrainingError, match="two jobs are called 'topk'"):
        _train(toy, tmp_path, toy.toy_jobs()[:1] * 2)


def test_tensorboard_holds_the_same_figures(toy, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _train(toy, tmp_path, toy.toy_jobs()[:1])
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    for figure, ask in (
        ("topk/explained_variance", lambda line: line["jobs"]["topk"]["explained_variance"]),
        ("topk/terms/reconstruction", lambda line: line["jobs"]["topk"]["terms"]["reconstruction"]),
        ("lr", lambda line: line["lr"]),
    ):
        drawn = [(event.step, event.value) for event in board.Scalars(figure)]
        written = [(line["step"], ask(line)) for line in _lines(tmp_path)]
        assert [step for step, _ in drawn] == [step for step, _ in written]
        assert [value for _, value in drawn] == pytest.approx([value for _, value in written])


def test_data_that_cannot_be_read_again_is_still_placed(toy, tmp_path):
    class Fading(toy.ArrayStream):
        def next(self):
            if getattr(self, "again", False):
                raise StoreError("shard 7 is gone", "")
            rows = super().next()
            return rows * float("nan") if self.read == 5 else rows

        def restore(self, state):
            super().restore(state)
            self.again = True

    streams = toy.toy_streams() | {"first": Fading(toy.activations())}
    with pytest.raises(
        TrainingError, match=r"position \{'read': 4\} of the stream, which cannot be read again: shard 7"
    ):
        _train(toy, tmp_path, streams=streams)
