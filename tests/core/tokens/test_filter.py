import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from omnisae.tokens.filter import TokenFilter

ROLES = ("content", "cls")


def tokens(examples, steps):
    grid = torch.cartesian_prod(torch.arange(examples), torch.arange(steps), torch.arange(steps))
    role = (grid[:, 2] == 0).to(torch.uint8)
    return grid[:, 0], grid[:, 1:].to(torch.int32), role


def test_roles_are_kept_by_name():
    example, coords, role = tokens(2, 3)
    assert torch.equal(TokenFilter(roles=("cls",)).keep(example, coords, role, ROLES), role == 1)
    assert TokenFilter(roles=("cls", "content")).keep(example, coords, role, ROLES).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**40), st.floats(0.05, 0.95))
def test_the_share_does_not_depend_on_batches(size, seed, fraction):
    example, coords, role = tokens(5, 4)
    keep = TokenFilter(roles=ROLES, fraction=fraction, seed=seed)
    whole = keep.keep(example, coords, role, ROLES)
    cuts = [slice(i, i + size) for i in range(0, len(example), size)]
    parts = [keep.keep(example[cut], coords[cut], role[cut], ROLES) for cut in cuts]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_the_share_is_the_fraction_along_every_axis(fraction, seed):
    example, coords, role = tokens(60, 20)
    mask = TokenFilter(roles=ROLES, fraction=fraction, seed=seed).keep(example, coords, role, ROLES)
    n, tolerance = len(mask), 4 * (fraction * (1 - fraction)) ** 0.5
    assert abs(mask.double().mean() - fraction) < tolerance / n**0.5
    for axis in range(2):
        for step in range(0, 20, 5):
            part = mask[coords[:, axis] == step]
            assert abs(part.double().mean() - fraction) < 1.3 * tolerance / len(part) ** 0.5


def test_seeds_keep_independent_tokens():
    example, coords, role = tokens(60, 20)
    one, two = (TokenFilter(fraction=0.5, seed=s, roles=ROLES).keep(example, coords, role, ROLES) for s in (0, 1))
    assert abs((one & two).double().mean() - 0.25) < 0.02


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValidationError):
        TokenFilter(fraction=0.0)
