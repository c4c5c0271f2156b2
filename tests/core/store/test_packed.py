"""int8: what rounding to a token's own steps may change, and what it may not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from stores import HOOK, PER_EXAMPLE, tokens

from omnisae.errors import StoreError
from omnisae.store.packed import Packed, pack
from omnisae.store.writer import StoreWriter
from omnisae.tokens.filter import TokenFilter

matrices = arrays.arrays(
    np.float32,
    st.tuples(st.integers(0, 5), st.integers(1, 7)),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
).map(torch.from_numpy)


@given(values=matrices)
@settings(max_examples=300, deadline=None)
def test_int8_is_off_by_half_a_step_at_most(values: torch.Tensor) -> None:
    packed = pack(values, "int8")
    assert packed.scale is not None
    assert packed.values.dtype == torch.int8
    assert (packed.values.abs() <= 127).all()
    wide = packed.widen()
    assert torch.isfinite(wide).all()
    error = (wide.double() - values.double()).abs()
    rounding = values.double().abs() * 2**-22  # fp32's own: of the step, of the quotient, and of the product
    assert (error <= packed.scale.double()[:, None] / 2 + rounding).all()
    largest = values.abs().amax(dim=1)
    assert (packed.scale.double() * 127 <= largest.double().clamp(min=1.5e-36) * (1 + 2**-22)).all()


@given(values=matrices)
@settings(max_examples=100, deadline=None)
def test_int8_keeps_zero_sign_and_order(values: torch.Tensor) -> None:
    wide = pack(values, "int8").widen()
    assert (wide[values == 0] == 0).all()
    assert (wide * values >= 0).all()
    assert torch.equal(pack(-values, "int8").widen(), -wide)
    if values.numel():
        ordered = values.sort(dim=1).values
        assert (pack(ordered, "int8").widen().diff(dim=1) >= 0).all()


@given(values=matrices)
@settings(max_examples=100, deadline=None)
def test_what_came_out_of_int8_goes_through_it_unchanged(values: torch.Tensor) -> None:
    wide = pack(values, "int8").widen()
    assert torch.allclose(pack(wide, "int8").widen(), wide, rtol=1e-6, atol=0)


@pytest.mark.parametrize("source", [torch.float16, torch.bfloat16, torch.float64])
def test_models_in_other_precisions_are_stored(source: torch.dtype) -> None:
    values = torch.randn(9, 4).to(source)
    wide = pack(values, "int8").widen()
    assert wide.dtype == torch.float32
    assert (wide - values.float()).abs().max() < values.float().abs().max() / 200


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_widening_in_pieces_is_widening_at_once(dtype: str) -> None:
    values = torch.randn(101, 2000)
    packed = pack(values, dtype)
    whole = packed.values.float() if packed.scale is None else packed.values.float() * packed.scale[:, None]
    out = torch.full((101, 2000), 7.0)
    for quiet in (False, True):
        assert torch.equal(packed.widen(out.fill_(7), quiet=quiet), whole)
    assert torch.equal(packed.widen(), whole)
    assert torch.equal(packed.part(3, 5).widen(), whole[3:5])


def test_wide_rows_are_widened() -> None:
    values = torch.randn(3, 70_000)
    assert torch.equal(Packed(values.bfloat16()).widen(), values.bfloat16().float())


def test_a_store_gives_back_what_was_packed_whatever_lies_between(tmp_path: Path) -> None:
    writer = StoreWriter.open(tmp_path / "s", HOOK, key="k", dtype="int8", shard_mb=0.0003, about={})
    parts = [tokens(first, first + 3) for first in range(0, 30, 3)]
    generator = torch.Generator().manual_seed(0)
    for number, batch in enumerate(parts):
        batch.values.normal_(generator=generator).mul_(10.0 ** (number - 5))
        batch.values[number] = 0
        writer.append(batch, 3 * number + 3)
    store = writer.finish()
    store.verify()
    assert len(store.manifest.shards) > 1
    expected = pack(torch.cat([batch.values for batch in parts]), "int8").widen()
    keep = TokenFilter(roles=("content", "cls"))
    assert torch.equal(torch.cat([batch.values for batch in store.sequential(keep, batch=8)]), expected)
    stream = store.stream(keep, batch=30 * PER_EXAMPLE, seed=0, pool=20)
    got = stream.next()
    assert sorted(map(tuple, got.tolist())) == sorted(map(tuple, expected.tolist()))


def test_what_int8_cannot_hold_is_refused(tmp_path: Path) -> None:
    writer = StoreWriter.open(tmp_path / "s", HOOK, key="k", dtype="int8", shard_mb=1, about={})
    batch = tokens(0, 1)
    largest = torch.finfo(torch.float32).max
    batch.values[2, 1] = largest
    writer.append(batch, 1)
    (read,) = writer.finish().sequential(TokenFilter(roles=("content", "cls")))
    assert read.values[2, 1] == pytest.approx(largest)
    wide = replace(tokens(0, 1), values=torch.full((PER_EXAMPLE, HOOK.width), 1e39, dtype=torch.float64))
    with pytest.raises(StoreError, match=r"the activation is 1e\+39 at example row 0.*the largest int8 is 3\.4"):
        StoreWriter.open(tmp_path / "t", HOOK, key="k", dtype="int8", shard_mb=1, about={}).append(wide, 1)
