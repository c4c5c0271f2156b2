"""Weights: how much of an operation's change each token takes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnisae.autoencoders.codes import Codes
from omnisae.errors import ConfigError
from omnisae.interventions import operation as ops
from omnisae.interventions.configs import AddConfig, ScaleConfig, ZeroOthersConfig
from omnisae.interventions.operation import Known, Tokens, weight_of
from omnisae.interventions.weights import Along, Painted, painted_from, weighted

LATENTS = 7
TICKS = (900.0, 600.0, 300.0, 0.0)
KNOWN = Known(
    LATENTS, ("timestep", "y", "x"), ticks={"timestep": TICKS}, sizes={"timestep": 4, "y": 4, "x": None}
)  # fmt: skip


def tokens_of(times, y=4, x=3, known_sizes=True):
    """A grid of tokens an example, each example told its time; behind each grid a special token."""
    grid = [[i, j] for i in range(y) for j in range(x)] + [[-1, -1]]
    told = torch.tensor(times, dtype=torch.float32).repeat_interleave(len(grid))
    step = (told[:, None] - torch.tensor(TICKS)).abs().argmin(dim=1, keepdim=True)
    coords = torch.cat([step, torch.tensor(grid).repeat(len(times), 1)], dim=1).to(torch.int32)
    example = torch.arange(len(times)).repeat_interleave(len(grid))
    role = torch.tensor(([0] * (len(grid) - 1) + [1]) * len(times), dtype=torch.uint8)
    sizes = {"timestep": 4, "y": y, "x": x} if known_sizes else {}
    return Tokens(example, coords, role, KNOWN.axes, {"timestep": told}, sizes=sizes)


def codes_of(n, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return Codes.from_dense(torch.rand(n, LATENTS, generator=rng) * (torch.rand(n, LATENTS, generator=rng) < 0.5))


numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(old=st.lists(numbers, min_size=1, max_size=8), new=st.lists(numbers, min_size=1, max_size=8), w=numbers)
@settings(max_examples=200, deadline=None)
def test_zero_keeps_the_old_bits_and_one_gives_the_new(old, new, w):
    n = min(len(old), len(new))
    a, b = torch.tensor(old[:n])[:, None], torch.tensor(new[:n])[:, None]
    bits = lambda t: t.contiguous().view(torch.int32)  # noqa: E731
    assert torch.equal(bits(weighted(a, b, torch.zeros(n))), bits(a))
    assert torch.equal(bits(weighted(a, b, torch.ones(n))), bits(b))
    if w not in (0, 1):
        torch.testing.assert_close(weighted(a, b, torch.full((n,), w)), a + w * (b - a), equal_nan=True)


def test_what_is_infinite_does_not_leak_through_weight_zero():
    found = weighted(torch.tensor([[1.0], [1.0]]), torch.tensor([[float("inf")]] * 2), torch.tensor([0.0, 1.0]))
    assert found.tolist() == [[1.0], [float("inf")]]


def test_minus_one_turns_the_change_round():
    assert weighted(torch.tensor([[2.0]]), torch.tensor([[5.0]]), torch.tensor([-1.0])).item() == -1.0


def test_along_a_told_axis_weights_are_linear_in_what_is_told():
    table = {800.0: 0.0, 400.0: 1.0, 200.0: -0.5}
    times = [1000, 900, 800, 700, 400, 390, 300, 200, 100, 0]
    weight = Along("timestep", table).of(tokens_of(times, 1, 1))
    by_time = weight.view(len(times), -1)
    assert (by_time == by_time[:, :1]).all(), "special tokens are told the same"
    slow = np.interp(times, sorted(table), [table[key] for key in sorted(table)])
    np.testing.assert_allclose(by_time[:, 0].numpy(), slow, rtol=1e-6)
    assert by_time[:5, 0].tolist() == [0, 0, 0, 0.25, 1]
    assert by_time[-2:, 0].tolist() == [-0.5, -0.5], "constant beyond the ends"


@given(st.integers(2, 60))
@settings(max_examples=30, deadline=None)
def test_the_same_table_serves_runs_of_another_number_of_steps(steps):
    times = torch.linspace(1000, 0, steps).tolist()
    found = Along("timestep", {1000.0: 1.0, 0.0: 0.0}).of(tokens_of(times, 1, 1)).view(steps, -1)[:, 0]
    np.testing.assert_allclose(found.numpy(), np.linspace(1, 0, steps), atol=1e-6)


def test_one_entry_is_the_same_everywhere():
    assert Along("timestep", {500.0: 0.3}).of(tokens_of([900, 0], 1, 1)).unique().tolist() == [pytest.approx(0.3)]


def test_along_any_other_axis_steps_that_are_not_named_take_nothing():
    tokens = tokens_of([900], 4, 3)
    weight = Along("y", {0.0: -1.0, 2.0: 0.5}).of(tokens)
    by_row = {int(y): weight[tokens.coords[:, 1] == y].unique().tolist() for y in tokens.coords[:, 1].unique()}
    assert by_row == {-1: [0.0], 0: [-1.0], 1: [0.0], 2: [0.5], 3: [0.0]}


def test_painted_takes_the_mean_of_the_pixels():
    picture = np.arange(8 * 6, dtype=np.float32).reshape(8, 6)
    tokens = tokens_of([900, 0], 4, 3)
    weight = Painted(picture).of(tokens)
    slow = picture.reshape(4, 2, 3, 2).mean(axis=(1, 3)).ravel()
    np.testing.assert_allclose(weight.view(2, -1).numpy(), [[*slow, 0]] * 2)


def test_painted_of_fewer_pixels_than_places():
    weight = Painted(np.asarray([[0.0, 1.0]], dtype=np.float32)).of(tokens_of([0], 4, 4))
    assert weight[:-1].view(4, 4).tolist() == [[0, 0, 1, 1]] * 4


def test_painted_knows_the_grid_when_only_some_of_its_tokens_are_there():
    picture = np.zeros((4, 4), dtype=np.float32)
    picture[3] = 1
    whole = tokens_of([0], 4, 4)
    upper = whole.take(whole.coords[:, 1].long() < 2)
    assert Painted(picture).of(upper).tolist() == [0.0] * len(upper.example), "the lower edge is not among them"
    guessed = tokens_of([0], 4, 4, known_sizes=False)
    assert Painted(picture).of(guessed)[:-1].view(4, 4).tolist() == picture.tolist()


def test_painted_where_no_token_lies_on_the_grid():
    tokens = tokens_of([0], 2, 2)
    assert Painted(np.ones((2, 2), dtype=np.float32)).of(tokens.take(tokens.role == 1)).tolist() == [0.0]


def test_several_weights_multiply():
    tokens = tokens_of([900, 300], 2, 2)
    picture = Painted(np.asarray([[1.0, 0.5]], dtype=np.float32))
    both = weight_of([Along("timestep", {900.0: 0.5, 300.0: 2.0}), picture], tokens)
    assert both.view(2, -1).tolist() == [[0.5, 0.25, 0.5, 0.25, 0], [2, 1, 2, 1, 0]]
    assert weight_of([], tokens).tolist() == [1.0] * 10


@pytest.mark.parametrize("operation", [
    ops.scale([1, 4], 0.0), ops.add(2, 0.7), ops.set_to([0, 6], 1.5, gate=0.1), ops.clamp(range(7), 0.2, 0.4)
])  # fmt: skip
def test_an_operation_in_part(operation):
    tokens = tokens_of([900, 450, 0], 2, 2)
    codes = codes_of(len(tokens.example))
    weight = torch.tensor([1.0, 0.25, 0.0]).repeat_interleave(5)
    along = Along("timestep", {900.0: 1.0, 450.0: 0.25, 0.0: 0.0})
    full = operation.prepared(KNOWN).apply(codes, tokens).dense()
    part = replace(operation, weights=(along,)).prepared(KNOWN).apply(codes, tokens).dense()
    old = codes.dense()
    torch.testing.assert_close(part, old + weight[:, None] * (full - old))
    assert torch.equal(part[:5], full[:5])
    assert torch.equal(part[10:], old[10:])


@pytest.mark.parametrize(
    ("weight", "error"),
    [
        (Along("timestap", {0: 1}), "the weights name axis 'timestap'(?s:.*)timestep"),
        (Along("y", {}), "the weights along 'y' are empty"),
        (Along("y", {4.0: 1}), "the weights along 'y' name step 4(?s:.*)whole numbers from 0 to 3"),
        (Along("y", {0.5: 1}), "name step 0.5"),
        (Along("y", {-1.0: 1}), "name step -1"),
        (Along("x", {-1.0: 1}), "name step -1(?s:.*)from 0 to …"),
        (Along("y", {float("inf"): 1}), "the weights along 'y' give inf the weight 1(?s:.*)give finite numbers"),
        (Along("timestep", {float("nan"): 1}), "give nan the weight 1"),
        (Along("timestep", {3.0: float("nan")}), "along 'timestep' give 3 the weight nan"),
        (Painted(np.zeros((0, 3), dtype=np.float32)), r"a picture of weights has the shape \[0, 3\]"),
        (Painted(np.zeros(3, dtype=np.float32)), r"the shape \[3\]"),
        (Painted(np.full((2, 2), np.nan, dtype=np.float32)), "values that are no numbers(?s:.*)one finite number a"),
        (Painted(np.zeros((2, 2), dtype=np.float32), ("z", "x")), "a picture of weights lies over axis 'z'"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_the_model_runs(weight, error):
    with pytest.raises(ConfigError, match=error):
        ops.scale(0, 0.0, weights=[weight]).prepared(KNOWN)


def test_a_step_of_an_axis_without_a_known_size_may_be_any():
    ops.scale(0, 0.0, weights=[Along("x", {500.0: 1})]).prepared(KNOWN)
    ops.scale(0, 0.0, weights=[Along("timestep", {12.5: 1})]).prepared(KNOWN)


def test_pictures_and_arrays_are_read(tmp_path):
    values = np.asarray([[0, 51], [255, 102]], dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "grey.png")
    Image.fromarray(values).convert("RGB").save(tmp_path / "colour.png")
    Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    np.save(tmp_path / "w.npy", np.asarray([[-2.0, 0.5]]))
    for name in ("grey.png", "colour.png", "sixteen.png"):
        np.testing.assert_allclose(painted_from(tmp_path / name).picture, values / 255, atol=1e-6, err_msg=name)
    assert painted_from(tmp_path / "w.npy").picture.tolist() == [[-2.0, 0.5]]


@pytest.mark.parametrize("name", ["missing.png", "text.png", "empty.npy", "objects.npy", "broken.png", "many.npy"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "objects.npy", np.asarray([{}], dtype=object), allow_pickle=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    np.savez(tmp_path / "many.npz", a=np.zeros(3))
    (tmp_path / "many.npz").rename(tmp_path / "many.npy")
    with pytest.raises(ConfigError, match=rf"paint: .*{name} cannot be read(?s:.*)give a grey picture"):
        painted_from(tmp_path / name)


def test_configs_bring_weights_and_paint(tmp_path):
    np.save(tmp_path / "w.npy", np.asarray([[0.0, 1.0]]))
    raw = {"type": "core.add", "latent": 3, "amount": 2, "weights": {"timestep": {"900": 0, 500: 1}}}
    config = AddConfig.model_validate(raw | {"paint": str(tmp_path / "w.npy")})
    assert AddConfig.model_validate(config.model_dump(mode="json")) == config
    along, painted = config.build().weights
    assert along == Along("timestep", {900.0: 0.0, 500.0: 1.0})
    assert painted.picture.tolist() == [[0.0, 1.0]]
    assert ScaleConfig(latent=3).build().weights == ()
    with pytest.raises(ValueError, match="weights"):
        ZeroOthersConfig.model_validate({"latent": 3, "weights": {"y": {0: 1}}})
