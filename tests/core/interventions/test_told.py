"""Editing a model that is called many times, each call told where it stands."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from omnisae.autoencoders.about import ArtifactInfo
from omnisae.autoencoders.artifact import save
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.config import AutoencoderConfig
from omnisae.errors import ConfigError, HookError
from omnisae.hooks.fingerprint import fingerprint
from omnisae.hooks.point import HookPoint, Told
from omnisae.interventions.operation import Operation, add, scale, set_to
from omnisae.interventions.sae import SAE, load
from omnisae.interventions.weights import Along, Painted
from omnisae.tokens.filter import TokenFilter, TokenFilters

WIDTH, LATENTS = 8, 24
TICKS = (900.0, 600.0, 300.0, 0.0)


class Denoiser(nn.Module):
    """Channels last, with a number for each example."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())
        self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, x, t):
        t = torch.as_tensor(t, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        return self.head(self.block(x + t / 1000))


class Pipeline(nn.Module):
    """A text encoder that is called twice, then many steps; the whole is a function and no forward."""

    def __init__(self):
        super().__init__()
        self.text, self.unet = nn.Linear(WIDTH, WIDTH), Denoiser()

    def generate(self, x, times=TICKS):
        words, nothing = self.text(x), self.text(torch.zeros_like(x))
        return self.walk(words + 2 * nothing, times)

    def walk(self, x, times=TICKS):
        """The states after every step."""
        states = []
        for t in times:
            x = self.unet(x, t)
            states.append(x)
        return torch.stack(states)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Pipeline().eval().requires_grad_(False)


def make(
    model, *, columns=(), at="unet.block", call=None, told=True, pattern="example y x d", sizes=None, view="output"
):
    torch.manual_seed(1)
    width = WIDTH + len(columns)
    config = {"latents": LATENTS, "activation": {"type": "core.topk", "k": 5}}
    autoencoder = Autoencoder(AutoencoderConfig.model_validate(config), width, seed=0)
    autoencoder.initialise(torch.randn(512, width))
    with torch.no_grad():
        autoencoder.decoder.add_(torch.randn_like(autoencoder.decoder) * 0.3)
    autoencoder.eval().requires_grad_(False)
    hook = HookPoint(
        name="h", at=(at,), view=view, pattern=pattern, sizes=sizes or {}, width=width, call=call, within="unet",
        told={"timestep": Told(module="unet", argument="t", ticks=TICKS)} if told else {}, columns=columns,
    )  # fmt: skip
    info = ArtifactInfo(hook=hook, tokens=TokenFilters(), parent=fingerprint(model), dataset="d", source="s")
    return SAE(autoencoder, info, {"max": torch.arange(LATENTS) + 1.0}, Path("runs/x/sae"))


@pytest.fixture
def x():
    return torch.randn(3, 2, 4, WIDTH, generator=torch.Generator().manual_seed(3))


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


class Spy(Operation):
    """Changes nothing, and keeps what it is told."""

    def __init__(self):
        self.seen, self.known = [], None

    def prepared(self, known):
        self.known = known
        return self

    def apply(self, codes, tokens):
        self.seen.append(tokens)
        return codes


ON = set_to(range(6), 2.0)


@pytest.mark.parametrize(
    ("view", "dtype", "columns", "error"),
    [
        ("output", torch.float32, (), True),
        ("output", torch.bfloat16, ("timestep",), True),
        ("output", torch.float32, ("timestep",), False),
        ("input", torch.float64, ("timestep",), True),
        ("input", torch.bfloat16, (), False),
        ("update", torch.bfloat16, ("timestep",), True),
        ("update", torch.float32, ("timestep",), False),
    ],
)
def test_a_no_op_is_the_identity_bit_for_bit(model, x, view, dtype, columns, error):
    model = model.to(dtype)
    sae, x = make(model, columns=columns, view=view), x.to(dtype)
    plain = model.walk(x)
    nothing = [
        [],
        [scale(3, 1.0)],
        [set_to(range(6), 2.0, mask={"timestep": (4, 9)})],
        [set_to(range(6), 2.0, weights=[Along("timestep", {0.0: 0.0})])],
        [add([1, 2], 3.0, weights=[Along("y", {0: 0.0}), Along("timestep", {500.0: 1.0})])],
    ]
    for operations in nothing:
        with torch.inference_mode(), sae.edit(model, *operations, error=error):
            assert torch.equal(bits(model.walk(x)), bits(plain))
    with torch.inference_mode(), sae.edit(model, ON, error=error):
        assert not torch.equal(model.walk(x), plain), "the latents are ones that matter"
    assert hooks_of(model) == 0


@pytest.mark.parametrize("columns", [(), ("timestep",)])
def test_a_mask_over_the_told_axis_picks_forwards(model, x, columns):
    sae = make(model, columns=columns)
    with sae.edit(model, set_to(range(6), 2.0, mask={"timestep": (1, 3)})):
        masked = [model.unet(x, t) for t in TICKS]
    with sae.edit(model, ON):
        everywhere = [model.unet(x, t) for t in TICKS]
    plain = [model.unet(x, t) for t in TICKS]
    for step, wanted in enumerate([plain, everywhere, everywhere, plain]):
        assert torch.equal(masked[step], wanted[step])
        assert not torch.equal(plain[step], everywhere[step])


def test_a_mask_counts_runs_of_more_steps_by_the_nearest_tick(model, x):
    sae, times = make(model), [900.0, 800.0, 700.0, 460.0, 440.0, 100.0]
    with sae.edit(model, set_to(range(6), 2.0, mask={"timestep": (1, 2)})):
        masked = [model.unet(x, t) for t in times]
    changed = [not torch.equal(masked[i], model.unet(x, t)) for i, t in enumerate(times)]
    assert changed == [False, False, True, True, False, False]


def test_weights_by_what_is_told(model, x):
    sae, table = make(model), {800.0: 0.0, 400.0: 1.0}
    operation = set_to(range(6), 2.0, weights=[Along("timestep", table)])
    layer = model.unet.block
    for t in (900.0, 800.0, 700.0, 500.0, 400.0, 10.0):
        share = min(max((800 - t) / 400, 0.0), 1.0)
        given = x + t / 1000
        plain = layer(given)
        old = sae.encode(plain.reshape(-1, WIDTH), check=False)
        dense = old.dense()
        dense[:, :6] += share * (2.0 - dense[:, :6])
        shift = sae.decode(type(old).from_dense(dense, old.context)) - sae.decode(old)
        with sae.edit(model, operation):
            found = model.unet(x, t)
        torch.testing.assert_close(found, model.unet.head(plain + shift.view_as(plain)), rtol=1e-4, atol=1e-5)


def test_every_example_its_own_step(model, x):
    sae = make(model)
    times = torch.tensor([900.0, 300.0, 610.0])
    operation = set_to(range(6), 2.0, mask={"timestep": (1, 2)})
    with sae.edit(model, operation):
        together = model.unet(x, times)
    plain = model.unet(x, times)
    assert torch.equal(together[:2], plain[:2])
    assert not torch.equal(together[2], plain[2])
    with sae.edit(model, operation):
        alone = model.unet(x[2:], 610.0)
    torch.testing.assert_close(together[2:], alone)


def test_operations_are_told_all_there_is(model, x):
    sae, spy = make(model, columns=("timestep",)), Spy()
    with sae.edit(model, spy):
        model.walk(x, (900.0, 310.0))
    assert [one.given["timestep"].unique().tolist() for one in spy.seen] == [[900.0], [310.0]]
    assert [one.coords[:, 0].unique().tolist() for one in spy.seen] == [[0], [2]]
    first = spy.seen[0]
    assert first.axes == ("timestep", "y", "x")
    assert first.sizes == {"timestep": 4, "example": 3, "y": 2, "x": 4, "d": WIDTH}
    assert torch.equal(first.activations[:, -1], torch.full((24,), 900.0))
    assert torch.equal(first.activations[:, :-1], model.unet.block(x + 0.9).reshape(24, WIDTH))
    known = spy.known
    assert known.ticks == {"timestep": TICKS}
    assert known.sizes == {"timestep": 4, "y": None, "x": None}
    codes = known.encode(first.activations)
    assert torch.equal(known.decode(codes), sae.decode(sae.encode(first.activations, check=False)))


def test_the_identity_is_that_of_the_weights(model):
    one, same, other = make(model), make(model), make(model, columns=("timestep",))
    assert one.known.identity() == one.identity == same.identity != other.identity


def test_columns_reach_the_autoencoder_and_not_the_model(model, x):
    sae = make(model, columns=("timestep",))
    rows = model.unet.block(x + 0.3).reshape(-1, WIDTH)
    wide = torch.cat([rows, torch.full((len(rows), 1), 300.0)], dim=1)
    with sae.edit(model, replace=True):
        spliced = model.unet(x, 300.0)
    wanted = sae.decode(sae.encode(wide, check=False))[:, :WIDTH].view(3, 2, 4, WIDTH)
    torch.testing.assert_close(spliced, model.unet.head(wanted))
    assert spliced.shape == x.shape


def test_branches_that_lie_side_by_side_are_told_the_same(model, x):
    sae = make(model, pattern="(branch example) y x d", sizes={"branch": 2})
    both, times = torch.cat([x, -x]), torch.tensor([900.0, 600.0, 300.0] * 2)
    operation = set_to(range(6), 2.0, mask={"branch": (1, 2), "timestep": (1, 2)})
    with sae.edit(model, operation):
        edited = model.unet(both, times)
    changed = (edited != model.unet(both, times)).flatten(1).any(dim=1)
    assert changed.tolist() == [False, False, False, False, True, False]
    turned = set_to(range(6), 2.0, weights=[Along("branch", {1: 1.0})])
    with sae.edit(model, turned):
        changed = (model.unet(both, times) != model.unet(both, times[0])).flatten(1).any(dim=1)
    with sae.edit(model, turned):
        edited = model.unet(both, 900.0)
    assert (edited != model.unet(both, 900.0)).flatten(1).any(dim=1).tolist() == [False] * 3 + [True] * 3


def test_branches_that_are_told_different_things_are_refused(model, x):
    sae = make(model, pattern="(branch example) y x d", sizes={"branch": 2})
    with pytest.raises(HookError, match="told 6 values of 'timestep' for 3 examples"), sae.edit(model, ON):
        model.unet(torch.cat([x, x]), torch.tensor([1.0, 2, 3, 1, 2, 4]))
    assert hooks_of(model) == 0


def test_paint_lies_over_the_grid_of_every_forward(model, x):
    sae = make(model)
    picture = torch.zeros(2, 4)
    picture[1, 2:] = 1
    with sae.edit(model, set_to(range(6), 2.0, weights=[Painted(picture.numpy())])):
        edited = model.unet(x, 300.0)
    changed = (edited != model.unet(x, 300.0)).any(dim=-1)
    assert torch.equal(changed, picture.bool().expand(3, 2, 4))


def test_paint_keeps_its_place_where_a_share_of_the_tokens_is_edited(model, x):
    sae = make(model)
    tokens = TokenFilters(edit=TokenFilter(fraction=0.3))
    sae.info = sae.info.model_copy(update={"tokens": tokens})
    left = torch.tensor([[1.0, 0, 0, 0]])
    wide = x.repeat(1, 1, 5, 1)[:1, :, :16]
    with sae.edit(model, set_to(range(6), 2.0, weights=[Painted(left.numpy())])):
        edited = model.unet(wide, 300.0)
    changed = (edited != model.unet(wide, 300.0)).any(dim=-1)
    assert changed[..., :4].any()
    assert not changed[..., 4:].any()


@pytest.mark.parametrize("call", [0, 1])
def test_a_module_beside_the_steps_counts_its_calls_since_the_last_step(model, x, call):
    sae = make(model, at="text", call=call, told=False)
    plain_words, plain_nothing = model.text(x), model.text(torch.zeros_like(x))
    layer = HookPoint(name="h", at=("text",), pattern="example y x d", width=WIDTH, within="unet", call=call)
    assert sae.info.hook == layer

    def by_hand():
        rows = (plain_words, plain_nothing)[call].reshape(-1, WIDTH)
        codes = sae.encode(rows, check=False)
        dense = codes.dense()
        dense[:, :6] = 2.0
        new = rows + sae.decode(type(codes).from_dense(dense, codes.context)) - sae.decode(codes)
        pair = [plain_words, plain_nothing]
        pair[call] = new.view_as(x)
        return model.walk(pair[0] + 2 * pair[1])

    wanted = by_hand()
    with sae.edit(model, ON):
        first, second = model.generate(x), model.generate(x)
    torch.testing.assert_close(first, wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(first, second), "calls are counted anew after the steps"
    assert not torch.equal(first, model.generate(x))


def test_without_a_call_every_call_beside_the_steps_is_edited(model, x):
    sae = make(model, at="text", told=False)
    spy = Spy()
    with sae.edit(model, spy):
        model.generate(x)
    assert len(spy.seen) == 2
    assert spy.seen[0].given == {}


def test_steps_that_never_come_to_the_hook_point(model, x):
    sae = make(model, at="text", call=2, told=False)
    with pytest.raises(HookError, match="no forward reached 'text' within the block"), sae.edit(model, ON):
        model.generate(x)
    sae = make(model, call=1)
    with pytest.raises(HookError, match="there is no call 1"), sae.edit(model, ON):
        model.walk(x)


def test_a_hook_point_around_the_steps_is_refused(model, x):
    sae = make(model, at="", told=False)
    with pytest.raises(HookError, match="the model contains 'unet'(?s:.*)hook 'unet'"), sae.edit(model, ON):
        model.walk(x)


def test_the_steps_themselves_may_be_hooked(model, x):
    sae = make(model, at="unet")
    with sae.edit(model, set_to(range(6), 2.0, mask={"timestep": (3, 4)})):
        edited = model.walk(x)
    plain = model.walk(x)
    assert torch.equal(edited[:3], plain[:3])
    assert not torch.equal(edited[3], plain[3])


def test_axes_that_are_not_there_are_refused(model, x):
    sae = make(model)
    for operation in (scale(0, 0.0, mask={"time": (0, 1)}), scale(0, 0.0, weights=[Along("time", {0: 1})])):
        with pytest.raises(ConfigError, match="axis 'time'(?s:.*)timestep"), sae.edit(model, operation):
            model.walk(x)


def test_an_artifact_says_where_it_stands_and_is_the_same_from_disk(model, x, tmp_path):
    sae = make(model, columns=("timestep",))
    save(tmp_path / "sae", sae.autoencoder, sae.info)
    loaded = load(tmp_path / "sae")
    assert json.loads((tmp_path / "sae" / "sae.json").read_text())["schema"] == 2
    assert loaded.info == sae.info
    assert loaded.identity == sae.identity
    operation = set_to(range(6), 2.0, mask={"timestep": (1, 3)})
    states = []
    for one in (sae, loaded):
        with one.edit(model, operation):
            states.append(model.walk(x))
    assert torch.equal(*states)


def test_an_artifact_that_says_nothing_new_is_read_by_older_versions(model, tmp_path):
    sae = make(model)
    plain = HookPoint(name="h", at=("unet.block",), pattern="example d", width=WIDTH)
    save(tmp_path / "sae", sae.autoencoder, sae.info.model_copy(update={"hook": plain}))
    raw = json.loads((tmp_path / "sae" / "sae.json").read_text())
    assert raw["schema"] == 1
    assert set(raw["info"]["hook"]) == {"name", "at", "view", "select", "call", "pattern", "sizes", "width"}
