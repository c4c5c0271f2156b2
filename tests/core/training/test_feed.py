"""Feeding the step: shares of processes, what a GPU is sent, and streams that do not fit."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from omnisae.autoencoders.group import Group
from omnisae.autoencoders.shard import Shard
from omnisae.errors import TrainingError
from omnisae.hooks.point import HookPoint
from omnisae.store.packed import Packed
from omnisae.store.store import Store
from omnisae.store.writer import StoreWriter
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter
from omnisae.training.feed import Feed
from omnisae.training.guard import finite
from omnisae.training.mesh import Mesh

ROWS, BATCH = 96, 16


@pytest.fixture(scope="module", params=["float32", "bfloat16", "int8"])
def store(request, tmp_path_factory) -> Store:
    path = tmp_path_factory.mktemp("feed") / "store"
    hook = HookPoint(name="h", at=("h",), pattern="example d", sizes={}, width=6)
    writer = StoreWriter.open(path, hook, key="k", dtype=request.param, shard_mb=1, about={})
    values = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(0))
    narrow = torch.zeros(ROWS, 0, dtype=torch.int32), torch.zeros(ROWS, dtype=torch.uint8)
    writer.append(TokenBatch(values, torch.arange(ROWS), *narrow), ROWS)
    return writer.finish()


def mesh(rank: int = 0, world: int = 1, device: str = "cpu") -> Mesh:
    return Mesh(torch.device(device), Group(world, rank), Shard(over_tokens=Group(world, rank)))


def stream(store: Store, batch: int = BATCH):
    return store.stream(TokenFilter(), None, batch=batch, seed=0, pool=40)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_shares_of_all_processes_make_the_batch(store: Store, world: int) -> None:
    plain, feeds = stream(store), [Feed(stream(store), "h", BATCH, mesh(rank, world)) for rank in range(world)]
    for _ in range(20):
        assert torch.equal(torch.cat([feed.next() for feed in feeds]), plain.next())
        assert all(feed.stream.state() == plain.state() for feed in feeds)
    for feed in feeds:
        feed.close()


def test_an_origin_is_looked_up_in_the_whole_batch(store: Store) -> None:
    """The guard reads a batch again to find its broken row, which may be in another process's share."""
    plain, feed = stream(store), Feed(stream(store), "h", BATCH, mesh(1, 2))
    start, expected = plain.state(), plain.next()
    for _ in range(3):
        feed.next()
    feed.stream.restore(start)
    assert torch.equal(feed.stream.next(), expected)
    assert feed.stream.where() == plain.where()
    feed.close()


def test_a_stream_of_other_batches_is_refused(store: Store, toy) -> None:
    for given in (stream(store, batch=8), toy.ArrayStream(torch.randn(50, 6), batch=8)):
        feed = Feed(given, "h", BATCH, mesh())
        with pytest.raises(TrainingError, match="'h' gives batches of 8 tokens; train.batch is 16"):
            feed.next()
        feed.close()


def test_a_gpu_is_sent_what_is_stored_and_waits_for_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU here: the calls are recorded, and `sent` copies to the CPU."""
    told: list[object] = []

    class Event:
        def record(self, stream: object) -> None:
            told.append(("record", stream))

    current = SimpleNamespace(wait_event=lambda event: told.append(("wait", event)))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: "side")
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: told.append(("on", stream)) or nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda rows, stream: told.append(("keep", stream)))

    def sent(packed: Packed, device: torch.device) -> Packed:
        told.append(("sent", packed.values.dtype, len(packed), device.type))
        return Packed(packed.values.clone(), None if packed.scale is None else packed.scale.clone())

    monkeypatch.setattr(Packed, "sent", sent)
    plain, feed = stream(store), Feed(stream(store), "h", BATCH, mesh(1, 2, "cuda"))
    assert torch.equal(feed.next(), plain.next()[8:])
    feed.close()
    dtype = plain.next_packed().values.dtype
    first = [event for event in told if event[0] != "wait"][:3]  # type: ignore[index]
    assert first == [("on", "side"), ("sent", dtype, 8, "cuda"), ("record", "side")]
    waits = [event for event in told if event[0] == "wait"]  # type: ignore[index]
    assert len(waits) == 1
    assert ("keep", current) in told


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_bad_value_is_seen(bad: float) -> None:
    x = torch.full((3, 4), torch.finfo(torch.float32).max)
    assert bool(finite(x))
    x[2, 1] = bad
    assert not bool(finite(x))
