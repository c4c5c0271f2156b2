"""Training from activations on disk, with more tokens than the store holds and more than one pool."""

import pytest
import torch

from omnisae.hooks.point import HookPoint
from omnisae.store.store import Store
from omnisae.store.writer import StoreWriter
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter
from omnisae.training.trainer import train

EXAMPLES, STEPS = 200, 5


@pytest.fixture(scope="module")
def store(toy, tmp_path_factory):
    hook = HookPoint(name="first", at=("first",), pattern="example step d", sizes={"step": STEPS}, width=toy.WIDTH)
    path = tmp_path_factory.mktemp("store") / "first"
    writer = StoreWriter.open(path, hook, key="toy", dtype="float32", shard_mb=1, about={})
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


def _train(toy, store, out, observe=None):
    stream = store.stream(TokenFilter(), None, batch=toy.BATCH, seed=3, pool=256)
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
    for name, autoencoder in whole.items():
        for key, tensor in autoencoder.state_dict().items():
            assert torch.equal(tensor, resumed[name].state_dict()[key]), (name, key)


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
