"""Working ahead: the same batches from the same positions, the same errors, and no thread left behind."""

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import number, write

from omnisae.errors import StoreError
from omnisae.store.ahead import Ahead
from omnisae.store.packed import Packed
from omnisae.store.store import Store
from omnisae.store.stream import StoreStream
from omnisae.tokens.filter import TokenFilter

ALL = TokenFilter(roles=("content", "cls"))
DTYPES = ["float32", "bfloat16", "int8"]
STEPS = 60


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("index", "fill"):
        monkeypatch.setattr(f"omnisae.store.{module}.BLOCK", 16)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    folder = tmp_path_factory.mktemp("stores")
    return {dtype: write(folder / dtype, 60, rows=90, dtype=dtype) for dtype in DTYPES}


def stream(store: Store) -> StoreStream:
    return store.stream(ALL, batch=16, seed=0, pool=64)


def ahead(store: Store, depth: int = 2) -> Ahead[torch.Tensor]:
    return Ahead(stream(store), Packed.widen, depth)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("omnisae")]


@pytest.fixture
def quiet() -> None:
    """Threads of streams that earlier tests have forgotten come to their end."""
    forgotten_end()


def forgotten_end() -> None:
    gc.collect()  # an error and its traceback may go round in a circle
    stop = time.monotonic() + 20
    while threads() and time.monotonic() < stop:
        time.sleep(0.01)
    assert not threads()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_batches_and_positions_are_those_of_the_stream(stores: dict[str, Store], dtype: str, depth: int) -> None:
    plain, early = stream(stores[dtype]), ahead(stores[dtype], depth)
    for step in range(STEPS):
        assert early.state() == plain.state()
        batch = early.take() if step % 3 else early.next()
        assert torch.equal(batch, plain.next())
        assert batch.dtype == torch.float32
        if step % 7 == 0:
            assert early.where() == plain.where()
    early.close()


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_goes_on_from_every_position(stores: dict[str, Store], dtype: str) -> None:
    plain = stream(stores[dtype])
    states, batches = [], []
    for _ in range(STEPS):
        states.append(plain.state())
        batches.append(plain.next())
    early = ahead(stores[dtype])
    for position in [*range(STEPS - 2, -1, -1), *range(0, STEPS - 1, 5)]:
        early.restore(states[position])
        assert early.state() == states[position]
        assert torch.equal(early.take(), batches[position])
        assert early.state() == states[position + 1]
        assert torch.equal(early.take(), batches[position + 1])
    early.close()


@given(
    calls=st.lists(st.sampled_from(["take", "take", "next", "where", "close", "save", "restore"]), max_size=30),
    depth=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_no_order_of_calls_makes_a_difference(stores: dict[str, Store], calls: list[str], depth: int) -> None:
    plain, early = stream(stores["bfloat16"]), ahead(stores["bfloat16"], depth)
    saved = plain.state()
    for call in calls:
        if call in ("take", "next"):
            assert torch.equal(getattr(early, call)(), plain.next())
        elif call == "where":
            assert early.where() == plain.where()
        elif call == "close":
            early.close()
        elif call == "save":
            saved = early.state()
        else:
            plain.restore(saved)
            early.restore(saved)
        assert early.state() == plain.state()
    early.close()


def test_it_works_ahead_and_no_further_than_it_may(stores: dict[str, Store]) -> None:
    made: list[int] = []
    early = Ahead(stream(stores["float32"]), lambda packed: made.append(len(packed)), depth=3)
    for taken in range(1, 12):
        early.take()
        stop = time.monotonic() + 20
        while len(made) < taken + 3 and time.monotonic() < stop:
            time.sleep(0.001)
        time.sleep(0.01)
        assert len(made) == taken + 3
    early.close()


def test_a_position_of_another_stream_is_refused_and_changes_nothing(stores: dict[str, Store]) -> None:
    plain, early = stream(stores["int8"]), ahead(stores["int8"])
    assert torch.equal(early.take(), plain.next())
    with pytest.raises(StoreError, match="the saved position is of another stream"):
        early.restore({**early.state(), "seed": 5})
    assert early.state() == plain.state()
    assert torch.equal(early.take(), plain.next())
    early.close()


def test_what_goes_wrong_in_the_thread_is_raised_by_take(make: Callable[..., Store]) -> None:
    store = make(60, rows=50)
    early, plain = ahead(store), stream(store)
    start, path = early.state(), Path(store.path) / store.manifest.shards[2].name
    whole = path.read_bytes()
    path.write_bytes(whole[:4200])
    with pytest.raises(StoreError, match=r"shard-00002.safetensors: this shard is truncated"):
        [early.take() for _ in range(100)]
    for again in (early.take, early.next):
        with pytest.raises(StoreError, match="truncated"):
            again()
    path.write_bytes(whole)
    early.restore(start)
    assert all(torch.equal(early.take(), plain.next()) for _ in range(20))
    early.close()


@pytest.mark.usefixtures("quiet")
def test_what_preparing_raises_is_raised_too_and_the_position_is_kept(stores: dict[str, Store]) -> None:
    count = 0

    def prepare(packed: Packed) -> int:
        nonlocal count
        count += 1
        if count == 4:
            raise ZeroDivisionError("the fourth")
        return count

    early = Ahead(stream(stores["float32"]), prepare)
    assert [early.take() for _ in range(3)] == [1, 2, 3]
    position = early.state()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="the fourth"):
            early.take()
    assert early.state() == position
    early.close()
    assert not threads()


@pytest.mark.usefixtures("quiet")
def test_closing_ends_every_thread_at_any_time(stores: dict[str, Store]) -> None:
    for taken in range(6):
        early = ahead(stores["bfloat16"])
        assert [early.take().shape for _ in range(taken)] == [(16, 5)] * taken
        early.close()
        early.close()
        assert not threads()


@pytest.mark.usefixtures("quiet")
def test_a_stream_that_is_forgotten_ends_its_threads(stores: dict[str, Store]) -> None:
    early = ahead(stores["int8"])
    early.take()
    assert threads()
    del early
    forgotten_end()


@pytest.mark.usefixtures("quiet")
def test_closing_does_not_wait_for_a_slow_disk(make: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    import omnisae.store.reader as reader

    read = reader.read
    slow = threading.Event()

    def slowly(*args: object) -> int:
        if slow.is_set():
            time.sleep(0.1)
        return read(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "read", slowly)
    store = make(400, rows=100_000)
    early = Ahead(store.stream(ALL, batch=16, seed=0, pool=1600), Packed.widen)
    early.take()
    slow.set()
    for _ in range(40):  # the pool after this one is under way: 100 reads, two at a time, would take 5 s
        early.take()
    begin = time.monotonic()
    early.close()
    assert time.monotonic() - begin < 2
    assert not threads()


def test_batches_that_are_kept_are_never_overwritten(stores: dict[str, Store]) -> None:
    for dtype in DTYPES:
        early = ahead(stores[dtype])
        kept = [early.take()[3:5] for _ in range(60)]
        copies = [view.clone() for view in kept]
        for _ in range(60):
            early.take()
        early.close()
        assert all(torch.equal(view, copy) for view, copy in zip(kept, copies, strict=True))


def test_every_row_comes_once_an_epoch(stores: dict[str, Store]) -> None:
    early = ahead(stores["int8"])
    rows = torch.cat([early.take() for _ in range(-(-420 // 16))])
    early.close()
    assert sorted(number(rows)[:420].tolist()) == list(range(420))


INTERRUPTED = """
import _thread, sys, threading, time
from omnisae.store.ahead import Ahead
from omnisae.store.packed import Packed
from omnisae.store.store import Store
from omnisae.tokens.filter import TokenFilter

early = Ahead(Store.open(sys.argv[1]).stream(TokenFilter(), batch=16, seed=0, pool=64), Packed.widen)
caught = False

def knock():
    while not caught:  # once is not enough: Python drops an interrupt that falls into a finaliser
        time.sleep(0.3)
        _thread.interrupt_main()

threading.Thread(target=knock, daemon=True).start()
try:
    while True:
        early.take()
except KeyboardInterrupt:
    caught = True
    if sys.argv[2] == "close":
        early.close()
        print([thread.name for thread in threading.enumerate() if thread.name.startswith("omnisae")])
    raise
"""


@pytest.mark.parametrize("how", ["close", "leave"])
def test_ctrl_c_ends_the_process(store: Store, how: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, store.path, how], capture_output=True, text=True, timeout=60
    )
    assert "KeyboardInterrupt" in child.stderr
    assert child.stdout.strip() == ("[]" if how == "close" else "")
