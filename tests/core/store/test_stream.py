"""The shuffled stream and the sequential reader: which rows, in which order, from any position."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import PER_EXAMPLE, number, tokens, write

import omnisae.store.index as index
import omnisae.store.scatter as scatter
from omnisae.errors import StoreError
from omnisae.store.store import Store
from omnisae.tokens.filter import TokenFilter

ALL = TokenFilter(roles=("content", "cls"))
EXAMPLES = 60
DTYPES = ("float32", "float16", "bfloat16", "int8")


def kept(keep: TokenFilter, examples: np.ndarray | None, count: int = EXAMPLES) -> list[int]:
    """The numbers of the tokens that ought to come, by the slow way."""
    batch = tokens(0, count)
    mask = keep.keep(batch.example, batch.coords, batch.role, ("content", "cls"))
    if examples is not None:
        mask &= torch.from_numpy(examples)[batch.example]
    return torch.nonzero(mask).flatten().tolist()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    folder = tmp_path_factory.mktemp("stores")
    return {dtype: write(folder / dtype, EXAMPLES, rows=90, dtype=dtype) for dtype in DTYPES}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 16 rows, so that small stores have many; small gaps that are jumped over."""
    for module in ("index", "fill"):
        monkeypatch.setattr(f"omnisae.store.{module}.BLOCK", 16)
    monkeypatch.setattr(index, "_AT_ONCE", 48)
    monkeypatch.setattr(scatter, "JUMP", 80)
    monkeypatch.setattr("omnisae.store.sequence._CHUNK", 30)


choices = st.one_of(
    st.none(), st.lists(st.booleans(), min_size=EXAMPLES, max_size=EXAMPLES).map(lambda b: np.array(b, dtype=bool))
)
filters = st.builds(
    TokenFilter,
    roles=st.sampled_from([("content",), ("content", "cls"), ("cls",)]),
    fraction=st.sampled_from([1.0, 0.5, 0.15]),
    seed=st.integers(0, 3),
)


@given(
    dtype=st.sampled_from(DTYPES),
    keep=filters,
    examples=choices,
    batch=st.integers(1, 200),
    seed=st.integers(0, 2**63),
    pool=st.integers(1, 300),
    stops=st.lists(st.integers(0, 25), max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_every_epoch_holds_each_kept_row_once_and_any_position_goes_on_alike(
    stores: dict[str, Store],
    dtype: str,
    keep: TokenFilter,
    examples: np.ndarray | None,
    batch: int,
    seed: int,
    pool: int,
    stops: list[int],
) -> None:
    store, expected = stores[dtype], kept(keep, examples)
    if not expected:
        with pytest.raises(StoreError, match="no token is kept"):
            store.stream(keep, examples, batch=batch, seed=seed, pool=pool)
        return
    stream = store.stream(keep, examples, batch=batch, seed=seed, pool=pool)
    states, rows = [stream.state()], []
    for _ in range(max(26, -(-2 * len(expected) // batch))):
        got = stream.next()
        assert got.shape == (batch, 5)
        assert got.dtype == torch.float32
        rows.append(got)
        states.append(stream.state())
    flat = number(torch.cat(rows)).tolist()
    for epoch in range(len(flat) // len(expected)):
        assert sorted(flat[epoch * len(expected) : (epoch + 1) * len(expected)]) == expected
    again = store.stream(keep, examples, batch=batch, seed=seed, pool=pool)
    for stop in stops:
        again.restore(states[stop])
        for i in range(stop, min(stop + 3, len(rows))):
            assert torch.equal(again.next(), rows[i])
            assert again.state() == states[i + 1]


@given(
    dtype=st.sampled_from(DTYPES),
    keep=filters,
    examples=choices,
    batch=st.integers(1, 200),
)
@settings(max_examples=60, deadline=None)
def test_sequential_gives_the_kept_tokens_in_order(
    stores: dict[str, Store], dtype: str, keep: TokenFilter, examples: np.ndarray | None, batch: int
) -> None:
    batches = list(stores[dtype].sequential(keep, examples, batch=batch))
    expected = kept(keep, examples)
    assert [len(b) for b in batches[:-1]] == [batch] * (len(batches) - 1)
    assert torch.cat([number(b.values) for b in batches] or [torch.tensor([])]).tolist() == expected
    truth = tokens(0, EXAMPLES).take(torch.tensor(expected, dtype=torch.long))
    for name in ("values", "example", "coords", "role") if batches else ():
        assert torch.equal(torch.cat([getattr(b, name) for b in batches]), getattr(truth, name)), name


def test_the_order_is_pinned(store: Store) -> None:
    """A checkpoint of today must go on with the same rows tomorrow, on any machine."""
    stream = store.stream(TokenFilter(), batch=6, seed=7, pool=40)
    assert [number(stream.next()).tolist() for _ in range(3)] == [
        [137, 139, 253, 254, 314, 320],
        [240, 250, 251, 312, 316, 318],
        [130, 131, 136, 143, 246, 255],
    ]


def test_seeds_and_epochs_differ(store: Store) -> None:
    count = len(kept(ALL, None))
    one, two = (store.stream(ALL, batch=count, seed=seed, pool=100) for seed in (0, 1))
    orders = [number(one.next()).tolist(), number(one.next()).tolist(), number(two.next()).tolist()]
    assert all(a != b for a, b in itertools.combinations(orders, 2))


def test_a_batch_is_mixed_from_the_whole_pool(make: Callable[..., Store]) -> None:
    """Rows of one batch come from all over a pool: chi-square of the blocks they come from stays within reason."""
    store = make(400, rows=100_000)
    stream = store.stream(ALL, batch=100, seed=0, pool=100_000)
    got = torch.stack([number(stream.next()) for _ in range(28)])
    counts = torch.stack([torch.histc(batch.float(), bins=10, min=0, max=2800) for batch in got])
    chi = ((counts - 10) ** 2 / 10).sum()
    assert 180 < chi < 330, "28 batches × 9 degrees of freedom make 252 ± 22"


def test_batches_that_are_kept_are_never_overwritten(store: Store) -> None:
    stream = store.stream(ALL, batch=16, seed=0, pool=64)
    kept_views = [stream.next()[3:5] for _ in range(60)]
    copies = [view.clone() for view in kept_views]
    for _ in range(60):
        stream.next()
    assert all(torch.equal(view, copy) for view, copy in zip(kept_views, copies, strict=True))


def test_memory_that_comes_back_is_used_again(store: Store) -> None:
    stream = store.stream(ALL, batch=16, seed=0, pool=64)
    addresses = {stream.next().data_ptr() for _ in range(500)}
    assert len(addresses) < 30


def test_state_of_another_stream_is_refused(store: Store, make: Callable[..., Store]) -> None:
    state = store.stream(ALL, batch=4, seed=0, pool=64).state()
    with pytest.raises(StoreError, match="seed: 0 saved, 1 now; pool: 64 saved, 32 now"):
        store.stream(ALL, batch=4, seed=1, pool=32).restore(state)
    with pytest.raises(StoreError, match="examples: "):
        store.stream(ALL, np.arange(EXAMPLES) < 9, batch=4, seed=0, pool=64).restore(state)
    with pytest.raises(StoreError, match="position -4"):
        store.stream(ALL, batch=4, seed=0, pool=64).restore({**state, "position": -4})


def test_where_names_the_shards_of_the_last_batch(store: Store) -> None:
    stream = store.stream(ALL, batch=3, seed=0, pool=20)
    assert stream.where().endswith("nothing read yet")
    bounds = np.cumsum([shard.rows for shard in store.manifest.shards])
    for _ in range(200):
        shards = sorted(set(np.searchsorted(bounds, number(stream.next()).numpy(), side="right").tolist()))
        assert stream.where() == f"{store.path}: " + ", ".join(f"shard-{i:05d}.safetensors" for i in shards)


def test_a_shard_that_shrinks_while_it_is_read_is_named_by_next(store: Store) -> None:
    stream = store.stream(ALL, batch=8, seed=0, pool=16)
    path = Path(store.path) / store.manifest.shards[2].name
    path.write_bytes(path.read_bytes()[:4200])
    with pytest.raises(StoreError, match=r"shard-00002.safetensors: this shard is truncated"):
        [stream.next() for _ in range(100)]
    with pytest.raises(StoreError, match="truncated"):
        stream.next()
    with pytest.raises(StoreError, match="truncated"):
        list(store.sequential(ALL))


def test_the_choice_of_examples_must_fit(store: Store) -> None:
    with pytest.raises(StoreError, match=r"holds 60 examples, and the choice among them is an array of 3 \(bool\)"):
        store.stream(ALL, np.ones(3, dtype=bool), batch=2, seed=0)
    with pytest.raises(StoreError, match="int64"):
        store.sequential(ALL, np.arange(60))


def test_sequential_may_be_left_early(store: Store) -> None:
    batches = store.sequential(ALL, batch=5)
    next(batches)
    batches.close()  # type: ignore[attr-defined]


def test_without_preadv_the_rows_are_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = TokenFilter(fraction=0.5)
    first = store.stream(keep, batch=32, seed=0, pool=64)
    expected = [first.next() for _ in range(20)]
    monkeypatch.setattr(scatter, "_preadv", scatter.by_copying)
    second = store.stream(keep, batch=32, seed=0, pool=64)
    assert all(torch.equal(second.next(), batch) for batch in expected)


def test_calls_that_stop_short_are_gone_on_with(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)

    def short(descriptor: int, pieces: np.ndarray, offset: int) -> int:
        """Reads a random part of what was asked for."""
        part = int(rng.integers(1, int(pieces[:, 1].sum()) + 1))
        ends = np.cumsum(pieces[:, 1])
        cut = pieces[: int(np.searchsorted(ends, part)) + 1].copy()
        cut[-1, 1] -= np.uint64(int(ends[len(cut) - 1]) - part)
        return scatter.by_copying(descriptor, cut, offset)

    expected = torch.cat([b.values for b in store.sequential(TokenFilter(fraction=0.5))])
    monkeypatch.setattr(scatter, "_preadv", short)
    assert torch.equal(torch.cat([b.values for b in store.sequential(TokenFilter(fraction=0.5))]), expected)


def test_one_example_longer_than_a_shard_stays_whole(make: Callable[..., Store]) -> None:
    store = make(6, rows=2)
    assert [shard.rows for shard in store.manifest.shards] == [PER_EXAMPLE] * 6
