"""The spool: parts go in step by step, tokens come out example by example."""

import gc
import os
import subprocess
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import HOOK, shard_mb

from omnisae.errors import StoreError
from omnisae.store.spool import spool, sweep
from omnisae.store.writer import StoreWriter
from omnisae.tokens.batch import TokenBatch


def part(examples: list[int], first: int = 0, axes: int = 2, dtype: torch.dtype = torch.float32) -> TokenBatch:
    """Tokens of these examples; values, coordinates and roles tell the token's number."""
    numbers = torch.arange(first, first + len(examples))
    return TokenBatch(
        numbers[:, None].repeat(1, 3).to(dtype),
        torch.tensor(examples, dtype=torch.int64),
        numbers[:, None].repeat(1, axes).to(torch.int32),
        (numbers % 5).to(torch.uint8),
    )


def parts_of(examples: list[list[int]], **more: int) -> list[TokenBatch]:
    firsts = [sum(map(len, examples[:i])) for i in range(len(examples))]
    return [part(sorted(own), first, **more) for own, first in zip(examples, firsts, strict=True)]


@given(st.lists(st.lists(st.integers(0, 12), max_size=20), max_size=7), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_every_token_comes_back_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, examples: list[list[int]], axes: int
) -> None:
    parts = parts_of(examples, axes=axes)
    with spool(tmp_path_factory.mktemp("beside")) as kept:
        for one in parts:
            kept.add(one)
        batches = list(kept.by_example())
    wanted = sorted(
        (example, number)
        for one in parts
        for example, number in zip(one.example.tolist(), one.values[:, 0].int().tolist(), strict=True)
    )
    found = [
        (example, number)
        for one in batches
        for example, number in zip(one.example.tolist(), one.values[:, 0].int().tolist(), strict=True)
    ]
    assert found == wanted, "by example, and within one in the order in which they came"
    edges = [(int(one.example[0]), int(one.example[-1])) for one in batches]
    assert all(stop <= start for (_, stop), (start, _) in pairwise(edges))
    if sum(map(bool, examples)) <= len({example for example, _ in wanted}):
        assert all(stop < start for (_, stop), (start, _) in pairwise(edges)), "split only where parts are more"
    for one in batches:
        numbers = one.values[:, 0].int()
        assert one.coords.shape == (len(one), axes)
        assert torch.equal(one.coords, numbers[:, None].repeat(1, axes))
        assert torch.equal(one.role, (numbers % 5).to(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_and_bits_stay(tmp_path: Path, dtype: torch.dtype) -> None:
    one = part([3, 3, 7], dtype=dtype)
    one.values[0, 0] = -0.0
    with spool(tmp_path) as kept:
        kept.add(one)
        (found,) = kept.by_example()
    assert found.values.dtype == dtype
    assert torch.equal(found.values.view(torch.uint8), one.values.view(torch.uint8))
    assert found.example.dtype == torch.int64


def test_it_goes_at_the_end_of_the_block(tmp_path: Path) -> None:
    with spool(tmp_path) as kept:
        kept.add(part([0]))
        (folder,) = tmp_path.iterdir()
        assert folder.name.startswith(f".spool.{os.getpid()}.")
    assert not list(tmp_path.iterdir())
    with pytest.raises(StoreError), spool(tmp_path) as kept:
        kept.add(part([1, 0]))
    assert not list(tmp_path.iterdir())


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    with spool(tmp_path) as kept:
        kept.add(part([]))
        assert list(kept.by_example()) == []


def test_a_part_out_of_order_is_refused(tmp_path: Path) -> None:
    with spool(tmp_path) as kept:
        kept.add(part([0, 1]))
        with pytest.raises(StoreError, match="part 1 of a batch has its examples out of order(?s:.*)order of `rows`"):
            kept.add(part([1, 0]))


def test_about_one_part_is_in_memory(tmp_path: Path) -> None:
    """Eight parts of 4 MiB of eight examples. What torch allocates does not show in tracemalloc: tokens are counted."""
    tokens, width = 8 * 64, 2048
    values = torch.randn(tokens, width)
    example = torch.arange(8).repeat_interleave(64)
    coords, role = torch.zeros(tokens, 1, dtype=torch.int32), torch.zeros(tokens, dtype=torch.uint8)
    with spool(tmp_path) as kept:
        tracemalloc.start()
        for _ in range(8):
            kept.add(TokenBatch(values, example, coords, role))
        sizes = [len(batch) for batch in kept.by_example()]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert sizes == [tokens] * 8
    assert peak < 2 * values.nbytes, "Python keeps no copies of its own"


def test_what_stays_in_memory_grows_with_examples_not_with_tokens(tmp_path: Path) -> None:
    def alive() -> int:
        gc.collect()
        tensors = [one for one in gc.get_objects() if type(one) is torch.Tensor]
        return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}.values())

    with spool(tmp_path) as kept:
        one = part([0] * 5000 + [1] * 5000)
        before = alive()
        for _ in range(10):
            kept.add(one)
        assert alive() - before < 1000


def test_where_examples_are_fewer_than_parts_each_comes_in_several_batches(tmp_path: Path) -> None:
    with spool(tmp_path) as kept:
        for one in parts_of([[0, 0, 1]] * 5):
            kept.add(one)
        batches = list(kept.by_example())
    assert [len(batch) for batch in batches] == [4, 4, 2, 2, 2, 1], "no more than two parts' share of one example"
    assert [batch.example.tolist()[0] for batch in batches] == [0, 0, 0, 1, 1, 1]
    assert torch.cat([batch.values[:, 0] for batch in batches]).tolist() == [
        0,
        1,
        3,
        4,
        6,
        7,
        9,
        10,
        12,
        13,
        2,
        5,
        8,
        11,
        14,
    ]


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_spool import part
from omnisae.store.spool import spool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
with spool(Path(sys.argv[1])) as kept:
    kept.add(part([0] * 10))
    kept.add(part([0] * 100_000))
"""


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    script = FULL.format(tests=str(Path(__file__).parent))
    child = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert "omnisae.errors.StoreError: the file is too big: cannot write" in child.stderr
    assert "make room and run the same command again" in child.stderr
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_spool import part
from omnisae.store.spool import spool
with spool(Path(sys.argv[1])) as kept:
    kept.add(part([0] * 10))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_swept_when_the_store_is_opened_again(tmp_path: Path) -> None:
    def opened() -> StoreWriter:
        return StoreWriter.open(tmp_path, HOOK, key="k", dtype="float32", shard_mb=shard_mb(50), about={})

    opened()
    script = KILLED.format(tests=str(Path(__file__).parent))
    subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    assert [file.name[:7] for file in sorted(tmp_path.iterdir())] == [".spool.", "manifest.json"[:7]]
    with spool(tmp_path) as mine:
        mine.add(part([1]))
        opened()
        assert [len(batch) for batch in mine.by_example()] == [1], "one at work stays"
        assert len(list(tmp_path.iterdir())) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]
    (tmp_path / ".spool.nobody.x").mkdir()
    sweep(tmp_path)
    assert (tmp_path / ".spool.nobody.x").is_dir(), "not one of ours"
