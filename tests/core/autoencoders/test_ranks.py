"""Entries by rank: against sorting written out, with ties, tokens of uneven counts, signs, and several processes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.group import Group
from omnisae.autoencoders.kernels import device
from omnisae.autoencoders.nesting import matryoshka_k
from omnisae.autoencoders.picked import Picked, ends
from omnisae.autoencoders.ranks import parted, ranks
from omnisae.autoencoders.shard import Shard
from omnisae.testing.processes import together

LATENTS = 13


def drawn(seed: int, tokens: int, dtype: torch.dtype) -> Tensor:
    """Small integers, about half of them zero: nearly every rank is decided by a tie."""
    return torch.randint(-3, 4, (tokens, LATENTS), generator=torch.Generator().manual_seed(seed)).to(dtype)


def picked(matrix: Tensor) -> Picked:
    kept = matrix != 0
    return Picked(ends(kept.sum(1).int()), kept.nonzero()[:, 1].int(), matrix[kept])


def written_out(matrix: Tensor, signed: bool) -> list[int]:
    found = []
    for row in matrix.tolist():
        entries = [(-(abs(value) if signed else value), latent) for latent, value in enumerate(row) if value]
        order = sorted(entries)
        found += [order.index(entry) for entry in entries]
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 20), st.booleans(), st.sampled_from([torch.float32, torch.float64]))
def test_ranks_are_those_of_sorting(seed: int, tokens: int, signed: bool, dtype: torch.dtype) -> None:
    matrix = drawn(seed, tokens, dtype)
    some = picked(matrix)
    assert ranks(some, some.values.abs() if signed else some.values).tolist() == written_out(matrix, signed)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 20), st.booleans(), st.sampled_from([(1, 2, 5), (4,), (2, 13)]))
def test_parts_hold_every_entry_once_in_order(seed: int, tokens: int, signed: bool, ks: tuple[int, ...]) -> None:
    matrix = drawn(seed, tokens, torch.float32)
    rank = torch.full(matrix.shape, -1)
    rank[matrix != 0] = torch.tensor(written_out(matrix, signed), dtype=torch.int64)
    parts, bags = parted(picked(matrix), ks, signed)
    assert len(bags.bounds) == tokens * len(ks) + 1
    seen = torch.zeros_like(matrix)
    for token in range(tokens):
        for group, (low, high) in enumerate(zip((0, *ks), (*ks[:-1], LATENTS), strict=False)):
            bag = token * len(ks) + group
            inside = slice(int(bags.bounds[bag]), int(bags.bounds[bag + 1]))
            latents = parts.latents[inside].long()
            assert (bags.of[inside] == bag).all()
            assert latents.tolist() == ((rank[token] >= low) & (rank[token] < high)).nonzero()[:, 0].tolist()
            seen[token, latents] = parts.values[inside]
    assert torch.equal(seen, matrix)


def test_both_ways_part_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's kernels and PyTorch's operations."""
    some = picked(drawn(3, 30, torch.float32))
    quick, plain = parted(some, (1, 3, 6), True), None
    monkeypatch.setattr(device, "DEVICES", {"cpu"})
    plain = parted(some, (1, 3, 6), True)
    for one, two in ((quick[0].latents, plain[0].latents), (quick[0].values, plain[0].values)):
        assert torch.equal(one, two)
    assert quick[1].bounds.tolist() == plain[1].bounds.tolist()
    assert quick[1].of.tolist() == plain[1].of.tolist()


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("signed", [False, True])
def test_ranks_among_the_entries_of_all_processes(processes: int, signed: bool) -> None:
    matrix = drawn(5, 30, torch.float64)

    def work(shard: Shard, world: Group) -> Tensor:
        mine = matrix[:, shard.held(LATENTS)]
        some = picked(mine)
        found = torch.full(mine.shape, -1)
        sizes = some.values.abs() if signed else some.values
        found[mine != 0] = ranks(some, sizes, shard.over_latents)
        return found

    found = torch.cat(together(1, processes, work), 1)
    assert found[matrix != 0].tolist() == written_out(matrix, signed)


@pytest.mark.parametrize("k", [1, 2, 5, 40])
def test_the_largest_codes_of_each_token(k: int) -> None:
    matrix = drawn(7, 25, torch.float32)
    kept = Codes.from_dense(matrix).largest(k)
    rank = torch.full(matrix.shape, LATENTS)
    rank[matrix != 0] = torch.tensor(written_out(matrix, True))
    assert torch.equal(kept.dense(), torch.where(rank < k, matrix, 0.0))
    for token in range(len(kept)):
        latents = kept.latents[kept.offsets[token] : kept.offsets[token + 1]]
        assert (latents[1:] > latents[:-1]).all()


def test_largest_keeps_what_undoes_the_normaliser() -> None:
    context = torch.arange(4.0)[:, None]
    assert Codes.from_dense(torch.ones(4, 3), context).largest(2).context is context


def test_weights_fall_from_the_smallest_k() -> None:
    assert matryoshka_k((1, 2, 4, 8), "reverse", 16).weights == (0.4, 0.3, 0.2, 0.1)
    assert matryoshka_k((1, 2, 4, 8), "uniform", 16).weights == (0.25,) * 4
