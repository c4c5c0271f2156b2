import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.errors import DatasetError, StoreError
from omnisae.extract.live import LiveSource
from omnisae.tokens.filter import TokenFilter


def source(numbers, maps, hooks, size=3, path="0", **more):
    extractor = maps(size)
    return LiveSource(numbers(**more), extractor, hooks(extractor, path)[0], workers=0)


def rows_of(tensor):
    return sorted(map(tuple, tensor.tolist()))


def test_sequential_gives_every_token_in_order(numbers, maps, hooks):
    live = source(numbers, maps, hooks)
    chosen = np.arange(20) % 2 == 0
    found = list(live.sequential(TokenFilter(), chosen, batch=50))
    assert [len(batch) for batch in found] == [50, 50, 50, 10]
    assert torch.cat([batch.example for batch in found]).tolist() == [row for row in range(0, 20, 2) for _ in range(16)]


def test_the_share_kept_does_not_depend_on_batches(numbers, maps, hooks):
    keep = TokenFilter(fraction=0.3, seed=5)
    found = []
    for size, batch in ((1, 7), (20, 1000), (3, 64)):
        tokens = list(source(numbers, maps, hooks, size=size).sequential(keep, batch=batch))
        found.append([(e, *c) for t in tokens for e, c in zip(t.example.tolist(), t.coords.tolist(), strict=True)])
    assert found[0] == found[1] == found[2]
    assert 0.2 < len(found[0]) / 320 < 0.4


def test_an_epoch_holds_every_token_once_and_the_next_is_in_another_order(numbers, maps, hooks):
    live = source(numbers, maps, hooks)
    stream = live.stream(TokenFilter(), batch=16, seed=1, pool=100)
    first = torch.cat([stream.next() for _ in range(20)])
    assert rows_of(first) == rows_of(torch.cat([batch.values for batch in live.sequential(TokenFilter())]))
    second = torch.cat([stream.next() for _ in range(20)])
    assert rows_of(second) == rows_of(first)
    assert not torch.equal(first, second)
    other = live.stream(TokenFilter(), batch=16, seed=2, pool=100)
    assert not torch.equal(other.next(), first[:16])


def test_a_restored_stream_goes_on_bit_for_bit(numbers, maps, hooks):
    @settings(max_examples=12, deadline=None)
    @given(st.integers(0, 40), st.integers(1, 60), st.integers(1, 200), st.integers(1, 5))
    def check(steps, batch, pool, size):
        def stream():
            live = source(numbers, maps, hooks, size=size, n=9, unreadable=(2,))
            return live.stream(TokenFilter(fraction=0.8), np.arange(9) != 4, batch=batch, seed=3, pool=pool)

        whole = stream()
        for _ in range(steps):
            whole.next()
        saved = json.loads(json.dumps(whole.state()))
        again = stream()
        again.restore(saved)
        for _ in range(5):
            assert torch.equal(whole.next(), again.next())
            assert whole.where() == again.where()

    check()


def test_a_position_of_another_stream_is_refused(numbers, maps, hooks):
    live = source(numbers, maps, hooks)
    state = live.stream(TokenFilter(), batch=16, seed=1).state()
    with pytest.raises(StoreError, match="belongs to a stream of another"):
        live.stream(TokenFilter(), batch=16, seed=2).restore(state)


def test_errors_name_what_is_missing(numbers, maps, hooks):
    live = source(numbers, maps, hooks, nan=(4,))
    with pytest.raises(StoreError, match=r"NaN or infinite activations in example 'e4' \(row 4\)"):
        list(live.sequential(TokenFilter()))
    with pytest.raises(DatasetError, match="no example to stream"):
        live.stream(TokenFilter(), np.zeros(20, dtype=bool), batch=4, seed=0)
    with pytest.raises(DatasetError, match="none of the 20 examples gives a token"):
        source(numbers, maps, hooks).stream(TokenFilter(roles=("cls",)), batch=4, seed=0).next()


def test_where_names_the_examples_of_the_last_batch(numbers, maps, hooks):
    live = source(numbers, maps, hooks, unreadable=(0,))
    stream = live.stream(TokenFilter(), batch=320, seed=0)
    stream.next()
    assert stream.where().startswith("examples 'e")
    assert "more" in stream.where()
    assert live.skipped == {"e0": "e0.png is truncated"}
