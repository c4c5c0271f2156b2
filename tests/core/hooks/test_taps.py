from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from omnisae.errors import HookError
from omnisae.hooks.point import HookPoint
from omnisae.hooks.taps import tap


def point(*at, pattern="example d", name="p", **more):
    return HookPoint(name=name, at=at, pattern=pattern, width=4, **more)


@dataclass
class Result:
    hidden: Tensor
    extra: dict


class Block(nn.Module):
    """Adds to its input, and gives tuples, dicts and dataclasses as asked."""

    def __init__(self, form="tensor"):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.form = form

    def forward(self, x, *, scale=1.0, memory=None):
        y = x + scale * self.inner(x)
        return {"tensor": y, "tuple": (y, None), "dict": {"out": [y]}, "dataclass": Result(y, {"x": x})}[self.form]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block("tuple"), Block("dict"), Block("dataclass")])
        self.act = nn.ReLU(inplace=True)
        self.unused = nn.Linear(4, 4)
        self.last = nn.Linear(4, 4)
        self.ran_last = 0
        self.last.register_forward_hook(self._count)

    def _count(self, *_):
        self.ran_last += 1

    def forward(self, x):
        x = self.blocks[0](x, scale=0.5)
        x = self.act(x)
        x = self.blocks[1](x=x, memory={"past": (x * 2,)})[0]
        x = self.blocks[2](x)["out"][0]
        x = self.act(x)
        x = self.blocks[3](x).hidden
        return self.last(x)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model().eval()


def hooks_of(model):
    # One forward hook of the model's own stands on `last`.
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) - 1


def read(model, *points, x=None, stop=True):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)) if x is None else x
    with torch.inference_mode(), tap(model, points, stop=stop) as seen:
        model(x)
    return x, seen


def test_views_agree(model):
    points = [point("blocks.0", view=view, name=view) for view in ("input", "output", "update")]
    x, seen = read(model, *points)
    assert torch.equal(seen["input"], x)
    expected = x + 0.5 * model.blocks[0].inner(x)
    assert torch.equal(seen["output"], expected)
    assert torch.equal(seen["update"], expected - x)


def test_selectors_reach_into_tuples_dicts_and_dataclasses(model):
    _, seen = read(
        model,
        point("blocks.1", select=(0,), name="tuple"),
        point("blocks.2", select=("out", 0), name="dict"),
        point("blocks.3", select=("hidden",), name="attribute"),
        point("blocks.3", select=("extra", "x"), name="nested"),
        point("blocks.1", view="input", select=("memory", "past", 0), name="keyword"),
        point("blocks.1", view="input", name="first keyword"),
        point("blocks.0", view="input", select=("x",), name="by name"),
        point("blocks.0", view="input", select=(0,), name="by place"),
        point("blocks.1", view="update", select=(0,), name="update"),
    )
    assert torch.equal(seen["keyword"], seen["first keyword"] * 2)
    assert torch.equal(seen["by name"], seen["by place"])
    assert torch.equal(seen["update"], seen["tuple"] - seen["first keyword"])
    assert torch.equal(seen["nested"], seen["dict"].relu())


def test_what_was_read_survives_later_writes_in_place(model):
    x, seen = read(model, point("blocks.0", name="early"), point("last", name="late"))
    assert torch.equal(seen["early"], x + 0.5 * model.blocks[0].inner(x))
    assert (seen["early"] < 0).any()


def test_the_forward_stops_after_the_last_hook_point(model):
    read(model, point("blocks.2", select=("out", 0)))
    assert model.ran_last == 1, "the first forward runs to its end, to see that the module fires once"
    read(model, point("blocks.2", select=("out", 0)))
    assert model.ran_last == 1
    read(model, point("last", view="input"), point("blocks.0", name="q"), stop=False)
    assert model.ran_last == 2
    read(model, point("last", view="input"), point("blocks.0", name="q"))
    assert model.ran_last == 2, "a view of the input stops before the module runs"


def test_stopping_reads_the_same(model):
    points = [point("blocks.0", view="update", name="a"), point("blocks.3", select=("hidden",), name="b")]
    (_, whole), (_, stopped) = read(model, *points, stop=False), read(model, *points)
    assert all(torch.equal(whole[name], stopped[name]) for name in ("a", "b"))


def test_a_module_that_fires_several_times_needs_a_call(model):
    with pytest.raises(
        HookError, match=r"fired 2 times in one forward \(shapes by call: 0: \[3, 4\], 1: \[3, 4\]\)"
    ) as e:
        read(model, point("act"))
    assert "`call: 0` … `call: 1`" in e.value.remedy
    _, seen = read(model, point("act", call=0, name="a"), point("act", call=1, name="b"))
    assert not torch.equal(seen["a"], seen["b"])
    with pytest.raises(HookError, match="no call 2: the module fired 2 time"):
        read(model, point("act", call=2))
    _, again = read(model, point("act", call=1, name="b"))
    assert torch.equal(again["b"], seen["b"]), "counters start anew with every forward"


def test_widths_are_concatenated(model):
    _, seen = read(model, point("blocks.0", "last", pattern="example d"))
    assert seen["p"].shape == (3, 8)
    longer = nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (2, 2)))
    for pattern in ("example d", "example (y d)"):
        with pytest.raises(HookError, match=r"their shapes are \[\[3, 4\], \[3, 2, 2\]\]"):
            read(longer, point("0", "1", pattern=pattern))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (point("blocks.9"), r"no module 'blocks.9'\n.*did you mean 'blocks"),
        (point("blocks.0.iner"), "did you mean 'blocks.0.inner'"),
        (point("last.weight"), "'last.weight' is a tensor of Model, not a module"),
        (point("unused"), "never fired: the module was not called"),
        (point("blocks"), "it is a container: hook a module inside it"),
        (point("blocks.1"), r"a tuple of \(a tensor of shape \[3, 4\], NoneType\), not a tensor"),
        (point("blocks.1", select=(2,)), r"select \[2\] does not fit; at \[\] there is a tuple"),
        (point("blocks.1", select=(1,)), "NoneType, not a tensor, at select"),
        (point("blocks.2", select=("oot", 0)), r"there is a dict with \{out: a list"),
        (point("blocks.0", view="input", select=("y",)), "does not fit"),
    ],
)
def test_errors_say_what_is_there(model, bad, says):
    with pytest.raises(HookError, match=f"(?s){says}"):
        read(model, bad)
    assert hooks_of(model) == 0


def test_update_needs_equal_shapes():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with pytest.raises(HookError, match=r"its output has shape \[3, 2\] and its input \[3, 4\]"):
        read(model, point("1", view="update"))


def test_the_model_itself_is_the_empty_path(model):
    x, seen = read(model, point("", name="out"), point("", view="input", name="in"))
    assert torch.equal(seen["in"], x)
    assert torch.equal(seen["out"], model(x))


def test_hooks_are_gone_after_an_exception(model):
    model.blocks[2].inner = None
    with pytest.raises(TypeError):
        read(model, point("blocks.0"), point("last", name="q"))
    assert hooks_of(model) == 0
    with pytest.raises(KeyboardInterrupt), tap(model, [point("blocks.0")]):
        raise KeyboardInterrupt
    assert hooks_of(model) == 0


def test_a_model_that_swallows_exceptions_is_stopped_all_the_same():
    class Swallows(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            try:
                return self.inner(x)
            except Exception:
                return x

    model = Swallows()
    for _ in range(2):
        x, seen = read(model, point("inner"))
        assert torch.equal(seen["p"], model.inner(x))


def test_taps_within_taps_stop_on_their_own(model):
    x = torch.randn(3, 4)
    read(model, point("last"), x=x)
    with tap(model, [point("last", name="outer")]) as outer:
        with tap(model.blocks[0], [point("inner", name="inner")], stop=False):
            model(x)
        raise AssertionError("the outer block is broken off")
    assert outer["outer"].shape == (3, 4)


def test_compiled_models_are_refused(model):
    with pytest.raises(HookError, match=r"compiled by torch.compile: hooks on it and inside it would be bypassed"):
        read(torch.compile(model), point("blocks.0"))
    model.blocks[0] = torch.compile(model.blocks[0])
    with pytest.raises(HookError, match=r"the module 'blocks.0' is compiled"):
        read(model, point("blocks.0.inner"))
    model.last.compile()
    with pytest.raises(HookError, match=r"the module 'last' is compiled"):
        read(model, point("last"))


def test_ordered_dicts_are_read_by_key_and_place():
    class Gives(nn.Module):
        def forward(self, x):
            return OrderedDict(a=x, b=x + 1)

    _, seen = read(Gives(), point("", select=("b",), name="key"), point("", select=(1,), name="place"))
    assert torch.equal(seen["key"], seen["place"])
