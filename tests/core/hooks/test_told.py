"""Told axes: what a forward is told becomes the place of its tokens."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from omnisae.errors import HookError
from omnisae.hooks.point import HookPoint, Told
from omnisae.hooks.taps import tap, watch
from omnisae.hooks.told import of_tokens, placed, steps, telling
from omnisae.store.key import content_key
from omnisae.tokens.arrange import flatten

TICKS = (900.0, 600.0, 300.0, 0.0)


def point(pattern="example position d", sizes=None, width=4, name="p", module="", argument="t", **more):
    told = {"timestep": Told(module=module, argument=argument, ticks=TICKS)}
    return HookPoint(name=name, at=("inner",), pattern=pattern, sizes=sizes or {}, width=width, told=told, **more)


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x, t=None, *, label=None):
        return self.inner(x)


class Pipeline(nn.Module):
    def __init__(self):
        super().__init__()
        self.unet = Denoiser()

    def forward(self, x, times):
        for t in times:
            x = self.unet(x, t)
        return x


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Denoiser().eval()


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def read(model, hook, x, *args, **kwargs):
    with telling(model, [hook]) as told, tap(model, [hook], stop=False) as seen:
        model(x, *args, **kwargs)
    return placed(flatten(seen[hook.name], hook.layout), hook, told)


def test_the_axes_of_whole_forwards_come_first():
    hook = point("example ([cls] + y x) d", {"y": 2, "x": 3})
    assert hook.axes == ("timestep", "y", "x")
    assert hook.known_sizes == {"timestep": 4, "y": 2, "x": 3}
    assert point().known_sizes == {"timestep": 4, "position": None}


def test_an_axis_without_ticks_is_refused():
    with pytest.raises(ValidationError, match="ticks"):
        Told(argument="t", ticks=())


@pytest.mark.parametrize(
    "t", [600, 600.0, torch.tensor(600), torch.tensor([600.0]), torch.tensor([600, 600, 600], dtype=torch.float16)]
)
@pytest.mark.parametrize("how", ["by position", "by name"])
def test_tokens_have_the_step_of_their_forward(model, t, how):
    x = torch.randn(3, 2, 4)
    tokens, given = read(model, point(), x, t) if how == "by position" else read(model, point(), x=x, t=t)
    assert tokens.coords.tolist() == [[1, 0], [1, 1]] * 3
    assert given["timestep"].tolist() == [600.0] * 6
    assert torch.equal(tokens.values, model.inner(x).reshape(6, 4))
    assert hooks_of(model) == 0


def test_every_example_may_be_told_its_own(model):
    tokens, given = read(model, point(), torch.randn(3, 2, 4), torch.tensor([0, 900, 310]))
    assert tokens.coords[:, 0].tolist() == [3, 3, 0, 0, 2, 2]
    assert given["timestep"].tolist() == [0.0, 0.0, 900.0, 900.0, 310.0, 310.0], "the value itself, not the tick"


def counted(**more):
    """A hook point along the time, and along the calls at every time."""
    told = {"timestep": Told(argument="t", ticks=TICKS), "call": Told(argument="t", ticks=(0.0, 1.0), counts=True)}
    return point(**more).model_copy(update={"told": told})


@pytest.mark.parametrize("write", [False, True], ids=["each its own", "one tensor written anew"])
def test_calls_that_are_told_the_same_in_a_row_are_counted(model, write):
    hook = counted()
    held, found = torch.zeros(1), []
    with telling(model, [hook]) as told, watch(model, [hook], lambda seen: found.append(told["call"].item())):
        for t in (900, 900, 600, 600, 600, 600, 300, 0):
            model(torch.randn(2, 1, 4), held.fill_(t) if write else torch.tensor([float(t)]))
    assert found == [0, 1, 0, 1, 0, 1, 0, 0], "anew after as many as there are ticks"


def test_a_counted_axis_has_steps_and_no_values(model):
    hook = counted()
    assert hook.axes == ("timestep", "call", "position")
    assert hook.known_sizes == {"timestep": 4, "call": 2, "position": None}
    assert hook.ticks == {"timestep": TICKS}
    tokens, given = read(model, hook, torch.randn(2, 1, 4), 600)
    assert tokens.coords.tolist() == [[1, 0, 0]] * 2
    assert list(given) == ["timestep"]


def test_what_is_not_counted_is_written_as_before():
    assert "counts" not in point().model_dump()["told"]["timestep"]
    assert HookPoint.model_validate(json.loads(counted().model_dump_json())) == counted()


def test_special_tokens_have_the_step_and_no_other_place(model):
    hook = point("example ([cls] + position) d")
    tokens, _ = read(model, hook, torch.randn(2, 3, 4), 300)
    assert tokens.coords.tolist() == [[2, -1], [2, 0], [2, 1]] * 2


def test_a_vector_an_example_lies_along_the_told_axis_alone(model):
    tokens, _ = read(model, point("example d"), torch.randn(2, 4), torch.tensor([900, 0]))
    assert tokens.coords.tolist() == [[0], [3]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_columns_stand_at_the_end_and_keep_what_stands_before(model, dtype):
    model = model.to(dtype)
    x = torch.randn(2, 3, 4, dtype=dtype)
    tokens, _ = read(model, point(width=5, columns=("timestep",)), x, torch.tensor([901.0, 3.0]))
    assert tokens.values.shape == (6, 5)
    assert tokens.values[:, 4].tolist() == [901.0] * 3 + [3.0] * 3, "not rounded to sixteen bits"
    assert torch.equal(tokens.values[:, :4].to(dtype), model.inner(x).reshape(6, 4))


def test_branches_that_are_told_the_same_are_one_batch(model):
    hook = point("(branch example) position d", {"branch": 2})
    tokens, given = read(model, hook, torch.randn(6, 2, 4), torch.tensor([900, 600, 0] * 2))
    assert hook.axes == ("timestep", "branch", "position")
    by_example = [given["timestep"][tokens.example == i].unique().tolist() for i in range(3)]
    assert by_example == [[900.0], [600.0], [0.0]]
    with pytest.raises(HookError, match=r"(?s)the forward was told 6 values of 'timestep' for 3 examples.*every"):
        read(model, hook, torch.randn(6, 2, 4), torch.tensor([900, 600, 0, 900, 600, 300]))


def test_the_wrong_number_of_values_is_told(model):
    with pytest.raises(HookError, match="hook point 'p': the forward was told 2 values of 'timestep' for 3 examples"):
        read(model, point(), torch.randn(3, 2, 4), torch.tensor([1, 2]))


def test_a_forward_that_is_not_told(model):
    with pytest.raises(HookError, match="told by the argument 't' of the model, and this forward was not given it"):
        read(model, point(), torch.randn(3, 2, 4))
    with pytest.raises(HookError, match="call the model as it was called when the hook point was found"):
        read(model, point(argument="label"), torch.randn(3, 2, 4), 3)
    with pytest.raises(HookError, match=r"(?s)this forward was given a str there.*give a number, or one for each"):
        read(model, point(), torch.randn(3, 2, 4), "early")
    assert hooks_of(model) == 0


def test_a_part_of_the_model_is_told_nothing():
    model = Pipeline().eval()
    hook = point(module="unet").model_copy(update={"at": ("unet.inner",)})
    with telling(model, [hook]) as told, tap(model.unet.inner, [hook.model_copy(update={"at": ("",)})]) as seen:
        model.unet.inner(torch.randn(2, 3, 4))
    with pytest.raises(HookError, match="(?s)'unet' has not been called yet, so that no step is known.*run the whole"):
        placed(flatten(seen["p"], hook.layout), hook, told)


def test_it_is_the_last_forward_that_counts():
    model, seen = Pipeline().eval(), []
    hook = point(module="unet").model_copy(update={"at": ("unet.inner",)})
    with telling(model, [hook]) as told:
        handle = model.unet.inner.register_forward_hook(lambda *_: seen.append(float(told["timestep"])))
        model(torch.randn(2, 3, 4), [900, 600, 0])
        handle.remove()
    assert seen == [900.0, 600.0, 0.0]


def test_one_axis_is_told_in_one_way(model):
    with (
        pytest.raises(HookError, match=r"told by the argument 'label' of the model at hook point 'q', and by 't' of"),
        telling(model, [point(), point(name="q", argument="label")]),
    ):
        pass
    with telling(model, [point(), point(name="q")]):
        pass
    assert hooks_of(model) == 0


def test_hook_points_that_are_told_nothing_are_left_alone(model):
    hook = HookPoint(name="p", at=("inner",), pattern="example d", width=4)
    with telling(model, [hook]) as told, tap(model, [hook]) as seen:
        model(torch.randn(2, 4))
    tokens = flatten(seen["p"], hook.layout)
    assert placed(tokens, hook, told) == (tokens, {})


def test_no_examples_are_no_error():
    hook = point("example d")
    tokens = flatten(torch.zeros(0, 4), hook.layout)
    assert len(of_tokens({"timestep": torch.tensor([600.0, 600.0])[:1]}, hook, tokens)["timestep"]) == 0


@given(
    ticks=st.lists(st.integers(0, 1000), min_size=1, max_size=9, unique=True),
    values=st.lists(st.integers(-50, 1050), min_size=1, max_size=9),
)
@settings(max_examples=100, deadline=None)
def test_a_value_counts_to_the_nearest_tick_the_earlier_of_two(ticks, values):
    hook = HookPoint(
        name="p", at=("m",), pattern="example d", width=1, told={"t": Told(argument="t", ticks=tuple(ticks))}
    )
    found = steps({"t": torch.tensor(values, dtype=torch.float32)}, hook)
    nearest = [min(range(len(ticks)), key=lambda i: (abs(ticks[i] - value), i)) for value in values]
    assert found.tolist() == [[step] for step in nearest]


def test_ticks_are_found_again_exactly():
    found = steps({"timestep": torch.tensor(TICKS)}, point())
    assert found[:, 0].tolist() == [0, 1, 2, 3]
    assert found.dtype == torch.int32


def test_what_says_nothing_new_is_written_as_before():
    plain = HookPoint(name="p", at=("inner",), pattern="example d", width=4)
    before = {"name": "p", "at": ["inner"], "view": "output", "select": [], "call": None, "pattern": "example d"}
    assert plain.model_dump(mode="json") == before | {"sizes": {}, "width": 4}
    assert content_key(plain) == content_key(before | {"sizes": {}, "width": 4}), "stages of older runs are still known"
    assert HookPoint.model_validate(before | {"sizes": {}, "width": 4}) == plain
    assert not plain.later


@pytest.mark.parametrize(
    "hook", [point(), point(width=5, columns=("timestep",)), HookPoint(
        name="p", at=("text",), pattern="example position d", width=4, call=1, within="unet"
    )]
)  # fmt: skip
def test_what_is_new_comes_back(hook):
    assert hook.later
    assert HookPoint.model_validate(json.loads(hook.model_dump_json())) == hook
