"""Training from activations on disk, with more tokens than the store holds and more than one pool."""

import gc
import threading

import pytest
import torch

from omnisae.hooks.point import HookPoint
from omnisae.store.source import TokenStream
from omnisae.store.store import Store
from omnisae.store.writer import StoreWriter
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter
from omnisae.training.trainer import train

EXAMPLES, STEPS = 200, 5


@pytest.fixture(scope="module", params=["float32", "bfloat16", "int8"])
def store(request, toy, tmp_path_factory):
    hook = HookPoint(name="first", at=("first",), pattern="example step d", sizes={"step": STEPS}, width=toy.WIDTH)
    path = tmp_path_factory.mktemp("store") / "first"
    writer = StoreWriter.open(path, hook, key="toy", dtype=request.param, shard_mb=1, about={})
    values = toy.activations(tokens=EXAMPLES * STEPS)
    batch = TokenBatch(
        values,
        torch.arange(EXAMPLES).repeat_interleave(STEPS),
        torch.arange(STEPS, dtype=torch.int32).repeat(EXAMPLES)[:, None],
        torch.zeros(len(values), dtype=torch.uint8),
    )
    writer.append(batch, EXAMPLES)
    writer.finish()
    return Store.open(path)


class Plain(TokenStream):
    """A store's stream that nobody knows for one, so that nothing is made ready ahead."""

    def __init__(self, stream):
        self.next, self.where, self.state, self.restore = stream.next, stream.where, stream.state, stream.restore

    next = where = state = restore = None


def _stream(toy, store):
    return store.stream(TokenFilter(), None, batch=toy.BATCH, seed=3, pool=256)


def _train(toy, store, out, observe=None, stream=None):
    stream = stream or _stream(toy, store)
    sample = store.stream(TokenFilter(), None, batch=500, seed=4, pool=1000).next()
    jobs = toy.toy_jobs()[:2]
    return train(
        jobs, {"first": stream}, {"first": sample}, toy.toy_config(), out, key="k", observe=observe, progress=False
    )


def test_it_goes_on_with_the_very_same_rows(toy, store, tmp_path):
    class Stop(Exception):
        pass

    def stop(event):
        if event["event"] == "step" and event["step"] == 42:
            raise Stop

    with pytest.raises(Stop):
        _train(toy, store, tmp_path / "broken", stop)
    resumed = _train(toy, store, tmp_path / "broken")
    whole = _train(toy, store, tmp_path / "whole")
    plain = _train(toy, store, tmp_path / "plain", stream=Plain(_stream(toy, store)))
    for name, autoencoder in whole.items():
        for key, tensor in autoencoder.state_dict().items():
            assert torch.equal(tensor, resumed[name].state_dict()[key]), (name, key)
            assert torch.equal(tensor, plain[name].state_dict()[key]), (name, key)


@pytest.mark.parametrize("how", ["end", "error", "interrupt"])
def test_no_thread_outlives_the_training(toy, store, tmp_path, how):
    def stop(event):
        if event["event"] == "step" and event["step"] == 42 and how != "end":
            raise KeyboardInterrupt if how == "interrupt" else ZeroDivisionError

    gc.collect()
    before, stream = _readers(), _stream(toy, store)
    try:
        _train(toy, store, tmp_path, stop, stream)
    except (KeyboardInterrupt, ZeroDivisionError):
        assert how != "end"
    gc.collect()  # that of the sample
    assert _readers() <= before
    assert stream.state()["position"] == toy.BATCH * (toy.STEPS if how == "end" else 42)
    assert stream.next().shape == (toy.BATCH, toy.WIDTH)


def _readers():
    return {thread for thread in threading.enumerate() if thread.name.startswith("omnisae-") and _settle(thread)}


def _settle(thread):
    """Whether it still lives, a moment after its stream was forgotten."""
    thread.join(0.5)
    return thread.is_alive()


def test_a_loss_that_diverges_names_the_shard(toy, store, tmp_path, monkeypatch):
    from omnisae.autoencoders.autoencoder import Autoencoder
    from omnisae.errors import TrainingError

    forward = Autoencoder.forward

    def diverging(self, x):
        step = forward(self, x)
        if int(self.seen) == 20 * toy.BATCH:
            step.loss.data.fill_(float("nan"))
        return step

    monkeypatch.setattr(Autoencoder, "forward", diverging)
    with pytest.raises(TrainingError, match=r"step 21: loss of autoencoder 'topk' became nan .* shard-00000"):
        _train(toy, store, tmp_path)
