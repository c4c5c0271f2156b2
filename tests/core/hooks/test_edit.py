from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from omnisae.errors import HookError
from omnisae.hooks.edit import edit
from omnisae.hooks.point import HookPoint
from omnisae.hooks.structure import pick, put
from omnisae.hooks.taps import tap

VIEWS = ("input", "output", "update")


def point(*at, name="p", **more):
    return HookPoint(name=name, at=at, pattern="example d", width=4, **more)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)

    def forward(self, x):
        return self.second(self.first(x) + x)

    def twice(self, x):
        return self.first(self.first(x))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model().eval()


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("view", VIEWS)
def test_a_no_op_is_the_identity_bit_for_bit(model, view, dtype):
    model, x = model.to(dtype), torch.randn(64, 4).to(dtype)
    plain = model(x)
    for no_op, delta in ((lambda t: t, False), (lambda t: t.clone(), False), (torch.zeros_like, True)):
        with edit(model, point("first", view=view), no_op, delta=delta):
            assert torch.equal(model(x).view(torch.uint8), plain.view(torch.uint8))
    assert hooks_of(model) == 0


def test_each_view_changes_what_it_names(model):
    x = torch.randn(3, 4)
    with edit(model, point("first", view="input"), lambda t: t * 2):
        assert torch.equal(model(x), model.second(model.first.forward(x * 2) + x))
    with edit(model, point("first"), lambda t: t * 2):
        assert torch.equal(model(x), model.second(model.first.forward(x) * 2 + x))
    with edit(model, point("first", view="update"), torch.zeros_like):
        assert torch.equal(model(x), model.second(x + x))
    with edit(model, point("first", view="update"), torch.ones_like, delta=True):
        assert torch.equal(model(x), model.second(model.first.forward(x) + 1 + x))


def test_nothing_is_changed_in_place(model):
    x = torch.randn(3, 4)
    kept = x.clone()
    with torch.inference_mode(), edit(model, point("first", view="input"), lambda t: t + 1):
        model(x)
    assert torch.equal(x, kept)
    with torch.no_grad(), edit(model, point("first", view="update"), lambda t: t + 1):
        model(x)
    assert torch.equal(x, kept)


def test_gradients_flow_through_an_edit(model):
    x = torch.randn(3, 4, requires_grad=True)
    with edit(model, point("first"), lambda t: t * 0.5):
        model(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_a_tap_reads_what_an_edit_made(model):
    x = torch.randn(3, 4)
    with edit(model, point("first"), torch.zeros_like), tap(model, [point("first")]) as seen:
        model(x)
    assert not seen["p"].any()


def test_hooks_are_gone_on_every_way_out(model):
    x = torch.randn(3, 4)
    with pytest.raises(ZeroDivisionError), edit(model, point("first"), lambda t: t / (1 // 0)):
        model(x)
    assert hooks_of(model) == 0
    with pytest.raises(RuntimeError), edit(model, point("first"), lambda t: t):
        model(torch.randn(3, 5))
    assert hooks_of(model) == 0


def test_a_broken_forward_leaves_nothing_for_the_next(model):
    with edit(model, point("first", call=0), lambda t: t + 1):
        with pytest.raises(RuntimeError):
            model(torch.randn(3, 5))
        x = torch.randn(3, 4)
        assert torch.equal(model(x), model.second(model.first.forward(x) + 1 + x))


def test_calls_are_counted_within_each_forward():
    class Again(Model):
        def forward(self, x):
            return self.twice(x)

    model, x = Again(), torch.randn(3, 4)
    with pytest.raises(HookError, match="fires more than once in one forward"), edit(model, point("first"), abs):
        model(x)
    once = model.first(x)
    for _ in range(2):
        with edit(model, point("first", call=1), lambda t: t + 1):
            for _ in range(2):
                assert torch.equal(model(x), model.first.forward(once) + 1)
    with pytest.raises(HookError, match=r"no call 2"), edit(model, point("first", call=2), abs):
        model(x)


def test_parts_called_by_themselves_are_edited_too(model):
    x = torch.randn(3, 4)
    with edit(model, point("first"), lambda t: t + 1):
        for _ in range(2):
            assert torch.equal(model.twice(x), model.first.forward(model.first.forward(x) + 1) + 1)
    with pytest.raises(HookError, match="within a forward of the whole"), edit(model, point("first", call=1), abs):
        model.twice(x)


def test_an_edit_that_never_takes_place_is_an_error(model):
    with pytest.raises(HookError, match="no forward reached 'first'"), edit(model, point("first"), abs):
        pass
    model.third = nn.Linear(4, 4)
    with pytest.raises(HookError, match=r"was not edited: the module fired 0 time"), edit(model, point("third"), abs):
        model(torch.randn(3, 4))


def test_the_shape_must_stay(model):
    with pytest.raises(HookError, match=r"gave shape \[3, 2\]"), edit(model, point("first"), lambda t: t[:, :2]):
        model(torch.randn(3, 4))


def test_concatenations_and_compiled_models_are_refused(model):
    with pytest.raises(HookError, match="it can be read, not edited"), edit(model, point("first", "second"), abs):
        pass
    with pytest.raises(HookError, match="bypassed"), edit(torch.compile(model), point("first"), abs):
        pass


Pair = namedtuple("Pair", "a b")


@dataclass(frozen=True)
class Frozen:
    a: Tensor
    b: Tensor


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ((torch.zeros(2), torch.ones(2)), (1,)),
        ([torch.zeros(2), (torch.ones(2),)], (1, 0)),
        ({"a": {"b": torch.zeros(2)}}, ("a", "b")),
        ({"a": torch.zeros(2), "b": torch.ones(2)}, (1,)),
        (Pair(torch.zeros(2), torch.ones(2)), ("b",)),
        (Pair(torch.zeros(2), torch.ones(2)), (0,)),
        (Frozen(torch.zeros(2), torch.ones(2)), ("b",)),
    ],
)
def test_putting_copies_and_leaves_the_original(value, path):
    old, new = pick(value, path, "it"), torch.full((2,), 7.0)
    changed = put(value, path, new)
    assert type(changed) is type(value)
    assert pick(changed, path, "it") is new
    assert pick(value, path, "it") is old


def test_what_transformers_records_is_what_was_edited(model):
    """Its recorders of hidden states are hooks that may be older than the edit; hooks of others keep their place."""
    recorded, seen = [], []

    def record(module, args, output):
        recorded.append(output)

    record.__module__ = "transformers.utils.output_capturing"
    model.first.register_forward_hook(record)
    model.first.register_forward_hook(lambda module, args, output: seen.append(output))
    x = torch.ones(1, 4)
    with edit(model, point("first"), lambda tensor: tensor + 1):
        model(x)
    model(x)
    torch.testing.assert_close(recorded[0], recorded[1] + 1)
    assert torch.equal(seen[0], seen[1]), "a hook that was there before sees what was there before"
