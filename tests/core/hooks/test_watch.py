"""Watching: hook points read in every forward of one module."""

import re
import weakref

import pytest
import torch
from torch import nn

from omnisae.errors import HookError
from omnisae.hooks.point import HookPoint
from omnisae.hooks.taps import tap, watch


def point(*at, name="p", **more):
    return HookPoint(name=name, at=at, pattern="example d", width=4, **more)


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x, t):
        if t < 0:
            self.first(x)
            raise RuntimeError("no such time")
        return self.last(self.act(self.first(self.first(x) + t)))


class Pipeline(nn.Module):
    def __init__(self):
        super().__init__()
        self.text, self.unet = nn.Linear(4, 4), Denoiser()

    def forward(self, x, times):
        x = self.text(x)
        for t in times:
            x = self.unet(x, t)
        return x


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Pipeline().eval().requires_grad_(False)


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_every_forward_is_told_as_tap_would_read_it(model):
    points = [
        point("unet.first", call=1),
        point("unet.last", view="input", name="q"),
        point("unet", name="out"),
        point("unet.first", call=0, view="update", name="r"),
    ]
    told, x, expected = [], torch.randn(3, 4), []
    with watch(model, points, told.append, within="unet"):
        whole = model(x, [3.0, 2.0, 1.0])
    state = model.text(x)
    for t in (3.0, 2.0, 1.0):
        inner = [one.model_copy(update={"at": (one.at[0].removeprefix("unet").lstrip("."),)}) for one in points]
        with tap(model.unet, inner, stop=False) as seen:
            state = model.unet(state, t)
        expected.append(seen)
    assert len(told) == 3
    for found, wanted in zip(told, expected, strict=True):
        assert set(found) == {"p", "q", "out", "r"}
        assert all(torch.equal(found[name], wanted[name]) for name in found)
    assert torch.equal(told[2]["out"], whole), "the forward itself goes on to its end"
    assert hooks_of(model) == 0


def test_what_is_told_is_not_kept(model):
    alive = []

    def tell(tensors):
        assert sum(ref() is not None for ref in alive) == 0, "the tensors of an earlier forward are still held"
        alive.append(weakref.ref(tensors["p"]))

    with watch(model, [point("unet.last", view="input")], tell, within="unet"):
        model(torch.randn(3, 4), [3.0, 2.0, 1.0])
    assert len(alive) == 3


def test_without_a_part_it_is_the_model_itself(model):
    told = []
    with watch(model, [point("text")], told.append):
        for _ in range(2):
            model(torch.randn(3, 4), [1.0])
    assert len(told) == 2


def test_a_forward_that_broke_off_leaves_nothing_behind(model):
    told = []
    with watch(model, [point("unet.first", call=0)], told.append, within="unet"):
        with pytest.raises(RuntimeError, match="no such time"):
            model(torch.randn(3, 4), [1.0, -1.0])
        model(torch.randn(3, 4), [1.0])
    assert len(told) == 2
    with pytest.raises(RuntimeError), watch(model, [point("unet.first", call=0)], told.append, within="unet"):
        model(torch.randn(3, 4), [-1.0])
    assert hooks_of(model) == 0


@pytest.mark.parametrize(
    ("hook", "error"),
    [
        (point("unet.first"), r"fired 2 times in one forward.*choose a call: `call: 0` … `call: 1`"),
        (point("unet.unused"), "the output of 'unet.unused' never fired"),
        (point("text"), "the output of 'text' never fired: the module was not called in this forward"),
        (point("unet.first", call=2), "has no call 2: the module fired 2 time"),
        (point("unet.frist"), "no module 'unet.frist'"),
        (point(""), "hook point 'p': the model contains 'unet', within whose forwards calls are counted"),
    ],
)
def test_what_does_not_fit_is_told(model, hook, error):
    with pytest.raises(HookError) as caught, watch(model, [hook], lambda _: None, within="unet"):
        model(torch.randn(3, 4), [1.0])
    assert re.search(error, str(caught.value), re.S)
    assert hooks_of(model) == 0


def test_an_unknown_part_is_told(model):
    with pytest.raises(HookError, match="no module 'vae'"), watch(model, [], lambda _: None, within="vae"):
        pass
