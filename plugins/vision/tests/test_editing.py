"""Editing in a region: only there, only what was asked, and gone afterwards."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from omnisae.errors import ArtifactError, ConfigError
from omnisae.interventions.operation import scale
from omnisae_vision.editing import Within, covered, in_region
from omnisae_vision.editing_push import along, at_random, pushed


def _planted():
    name = "vision_planted"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("planted.py"))
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


planted = _planted()
GRID, PLACE, BIAS = planted.GRID, planted.PLACE, planted.BIAS
grids = arrays(bool, GRID)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return planted.Planted().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def sae(model, tmp_path_factory):
    return planted.artifact(model, tmp_path_factory.mktemp("sae"))


@pytest.fixture(scope="module")
def x():
    return torch.rand(5, planted.WIDTH, *GRID, generator=torch.Generator().manual_seed(1)) + 0.1


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def edited(sae, model, x, *args, **options):
    with torch.inference_mode(), in_region(sae, model, *args, **options):
        return model(x)


def at(*places):
    grid = np.zeros(GRID, dtype=bool)
    for place in places:
        grid[place] = True
    return grid


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def test_off_where_the_head_reads_and_nowhere_else(sae, model, x):
    plain = model(x)
    there = edited(sae, model, x, 0, at(PLACE))
    torch.testing.assert_close(there[:, 0], torch.full((5,), BIAS))
    assert torch.equal(there[:, 1:], plain[:, 1:])
    elsewhere = edited(sae, model, x, 0, ~at(PLACE))
    assert torch.equal(bits(elsewhere), bits(plain))
    other = edited(sae, model, x, 3, at(PLACE))
    assert torch.equal(bits(other), bits(plain)), "a latent that the head does not read"


def test_outside_is_all_but_the_region(sae, model, x):
    plain = model(x)
    assert torch.equal(bits(edited(sae, model, x, 0, at(PLACE), outside=True)), bits(plain))
    torch.testing.assert_close(edited(sae, model, x, 0, ~at(PLACE), outside=True)[:, 0], torch.full((5,), BIAS))
    assert not torch.equal(edited(sae, model, x, 1, at(PLACE), outside=True)[:, 1], plain[:, 1])


def test_ranges_and_grids_say_the_same(sae, model, x):
    ranges = {"y": (1, 2), "x": (2, 4)}
    grid = np.zeros(GRID, dtype=bool)
    grid[1:2, 2:4] = True
    for outside in (False, True):
        for latent in (0, 1):
            a = edited(sae, model, x, latent, ranges, outside=outside)
            assert torch.equal(bits(a), bits(edited(sae, model, x, latent, grid, outside=outside)))


def test_every_example_has_its_own_region(sae, model, x):
    whole = np.stack([at(PLACE) if i in (1, 4) else at((0, 0)) for i in range(5)])
    plain, found = model(x), edited(sae, model, x, 0, whole)
    torch.testing.assert_close(found[[1, 4], 0], torch.full((2,), BIAS))
    assert torch.equal(found[[0, 2, 3]], plain[[0, 2, 3]])


def test_on_to_and_add(sae, model, x):
    plain = model(x)
    torch.testing.assert_close(edited(sae, model, x, 0, at(PLACE), to=3.0)[:, 0], torch.full((5,), 3.0 + BIAS))
    torch.testing.assert_close(
        edited(sae, model, x, 0, at(PLACE), to=2.0, unit="max")[:, 0], torch.full((5,), 2 + BIAS)
    )
    torch.testing.assert_close(edited(sae, model, x, 0, at(PLACE), add=1.0)[:, 0], plain[:, 0] + 1)
    torch.testing.assert_close(edited(sae, model, x, 0, at(PLACE), by=3.0)[:, 0], 3 * (plain[:, 0] - BIAS) + BIAS)


@given(grids, st.sampled_from([{"by": 1.0}, {"add": 0.0}, {"by": 0.0}]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_no_op_keeps_every_bit(sae, model, x, grid, how, outside):
    if how == {"by": 0.0}:
        grid = np.full(GRID, outside)  # no token at all
    assert torch.equal(bits(edited(sae, model, x, [0, 1, 2], grid, outside=outside, **how)), bits(model(x)))
    assert hooks_of(model) == 0


@given(grids, st.integers(0, planted.WIDTH - 1))
@settings(max_examples=25, deadline=None)
def test_inside_and_outside_make_up_everywhere(sae, model, x, grid, latent):
    plain = model(x)
    inside = edited(sae, model, x, latent, grid) - plain
    outside = edited(sae, model, x, latent, grid, outside=True) - plain
    with torch.inference_mode(), sae.edit(model, scale(latent, 0.0)):
        everywhere = model(x) - plain
    torch.testing.assert_close(inside + outside, everywhere, rtol=1e-5, atol=1e-6)


def test_hooks_go_on_every_way_out(sae, model, x):
    plain = model(x)
    broken = torch.full((5, planted.WIDTH - 1, *GRID), 1.0)
    with pytest.raises(RuntimeError), in_region(sae, model, 0, at(PLACE)):
        model(broken)
    assert hooks_of(model) == 0
    assert torch.equal(bits(model(x)), bits(plain))


@pytest.mark.parametrize(
    ("region", "options", "message"),
    [
        ({"z": (0, 1)}, {}, "the region names axis 'z'"),
        ({"y": (2, 2)}, {}, "range on 'y' is 2 to 2"),
        (np.zeros((4, 4), bool), {}, r"a grid of 4 × 4 tokens \(y, x\), and the hook point has 3 × 4"),
        (np.zeros(GRID), {}, "a grid of torch.float64 with 2 dimensions"),
        (np.zeros((4, *GRID), bool), {}, "grids for 4 examples, and the batch has 5"),
        (np.zeros(GRID, bool), {"by": 0.0, "to": 1.0}, "was given by and to"),
    ],
)
def test_regions_that_do_not_fit(sae, model, x, region, options, message):
    with pytest.raises(ConfigError, match=message):
        edited(sae, model, x, 0, region, **options)
    assert hooks_of(model) == 0


def test_a_grid_that_tokens_leave(model, x, tmp_path):
    loose = planted.artifact(model, tmp_path, sizes=False)
    assert edited(loose, model, x, 0, at(PLACE)).shape == (5, 4)
    with pytest.raises(ConfigError, match="tokens reach row 3 and column 4"):
        edited(loose, model, x, 0, np.ones((2, 4), bool))
    with pytest.raises(ConfigError, match="has no fixed grid of tokens"):
        covered(np.ones((6, 8), bool), loose)


def test_another_model_is_refused(sae, x):
    torch.manual_seed(5)
    other = planted.Planted().requires_grad_(False)
    other.head.bias[0] = 7.0
    with pytest.raises(ArtifactError, match="belongs to another model"):
        edited(sae, other, x, 0, at(PLACE))


def test_a_mask_over_pixels_becomes_tokens(sae):
    mask = np.zeros((30, 40), dtype=bool)
    mask[10:20, 20:26] = True  # 60 % of the cell in row 1, column 2
    assert covered(mask, sae, 0.5).numpy().tolist() == at(PLACE).tolist()
    assert not covered(mask, sae, 0.7).any()


def test_a_push_moves_as_far_in_another_direction(sae, model, x):
    off = Within(scale(0, 0.0), torch.from_numpy(at(PLACE)))
    plain, seen = model(x), []
    handle = model.norm.register_forward_hook(lambda _m, _i, out: seen.append(out.clone()))
    try:
        model(x)
        for direction in (at_random(torch.Generator().manual_seed(0), planted.WIDTH), along(3, None, -1)):
            with torch.inference_mode(), pushed(sae, model, off, direction):
                model(x)
    finally:
        handle.remove()
    before, random, other = seen
    for moved in (random - before, other - before):
        length = moved.norm(dim=1)
        torch.testing.assert_close(length[:, *PLACE], before[:, 0, *PLACE])
        assert int((length != 0).sum()) == len(x), "only the region's token moves"
    torch.testing.assert_close((other - before)[:, 3, *PLACE], -before[:, 0, *PLACE])
    with torch.inference_mode(), pushed(sae, model, off, along(3, None, -1)):
        assert torch.equal(model(x)[:, :3], plain[:, :3]), "the head does not read channel 3"
    assert hooks_of(model) == 0
