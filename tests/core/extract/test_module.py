import pytest
import torch
from torch import nn

from omnisae.config import HookConfig
from omnisae.errors import HookError, LayoutError
from omnisae.extract.module import ModuleExtractor


def test_globs_stand_for_several_hook_points(maps, hooks):
    extractor = maps()
    assert [point.name for point in hooks(extractor, "*")] == ["0.output", "1.output", "2.output", "3.output"]
    assert [point.width for point in hooks(extractor, "*")] == [5, 5, 6, 2]
    assert [point.at for point in hooks(extractor, "?", view="input")] == [("0",), ("1",), ("2",), ("3",)]


def test_several_modules_are_one_hook_point_of_the_summed_width(maps, hooks):
    extractor = maps()
    (point,) = extractor.resolve([HookConfig(at=("0", "2"))])
    assert (point.name, point.width, point.axes) == ("0+2.output", 11, ("y", "x"))
    single = hooks(extractor, "0", "2")
    x = torch.randn(2, 3, 4, 4)
    found = extractor.extract([7, 3], x, [point, *single]).tokens
    parts = [found[one.name].values for one in single]
    assert torch.equal(found["0+2.output"].values, torch.cat(parts, dim=1))
    assert found["0+2.output"].example.tolist() == [7] * 16 + [3] * 16


def test_names_are_fit_for_files(maps):
    (point,) = maps().resolve([HookConfig(at="0")])
    assert point.name == "0.output"
    (point,) = maps().resolve([HookConfig(at="", select=())])
    assert point.name == "model.output"
    (point,) = maps().resolve([HookConfig(at="1", call=0)])
    assert point.name == "1.output.call0"


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"at": "9"}, "no module '9'"),
        ({"at": "layer*"}, "no module that matches 'layer*'"),
        ({"at": "*", "name": "all"}, "matches 4 modules, and they cannot all be called 'all'"),
        ({"at": ("0", "2*")}, "'2*' is a glob"),
        ({"at": "0", "view": "update"}, "its output has shape [2, 5, 4, 4] and its input [2, 3, 4, 4]"),
    ],
)
def test_a_hook_point_that_cannot_be_is_refused(maps, config, says):
    with pytest.raises(HookError) as caught:
        maps().resolve([HookConfig(**config)])
    assert says in str(caught.value)


def test_two_hook_points_of_one_name_are_refused(maps):
    with pytest.raises(HookError, match="two hook points are called 'a'"):
        maps().resolve([HookConfig(at="0", name="a"), HookConfig(at="2", name="a")])


def test_a_layout_that_does_not_fit_names_the_hook_point(maps):
    with pytest.raises(LayoutError, match=r"hook point '0.output': layout 'example \(y x\) d'.*\[2, 5, 4, 4\]"):
        maps().resolve([HookConfig(at="0", layout="example (y x) d", sizes={"y": 2})])


def test_a_missing_layout_is_asked_for():
    class Plain(ModuleExtractor):
        def probe(self):
            return torch.zeros(2, 3)

    with pytest.raises(HookError, match=r"no layout is known for its output, a tensor of shape \[2, 4\]"):
        Plain(nn.Linear(3, 4)).resolve([HookConfig(at="")])
    (point,) = Plain(nn.Linear(3, 4)).resolve([HookConfig(at="", layout="example d")])
    assert point.width == 4


def test_branches_in_the_batch_must_be_declared():
    class Doubles(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 4)

        def forward(self, x):
            return self.inner(torch.cat([x, -x]))

    class Guided(ModuleExtractor):
        def probe(self):
            return torch.zeros(2, 3)

    extractor = Guided(Doubles())
    (wrong,) = extractor.resolve([HookConfig(at="inner", layout="example d")])
    with pytest.raises(HookError, match="gave 6 examples of width 4 for a batch of 3"):
        extractor.extract([0, 1, 2], torch.randn(3, 3), [wrong])
    (right,) = extractor.resolve([HookConfig(at="inner", layout="(branch example) d", sizes={"branch": 2})])
    tokens = extractor.extract([0, 1, 2], torch.randn(3, 3), [right]).tokens[right.name]
    assert tokens.example.tolist() == [0, 0, 1, 1, 2, 2]
    assert tokens.coords.tolist() == [[0], [1]] * 3


def test_padding_is_left_out():
    class Ragged(ModuleExtractor):
        def probe(self):
            return {"x": torch.zeros(2, 5, 3), "length": torch.tensor([5, 5])}

        def forward(self, inputs):
            return self.model(inputs["x"])

        def declare(self, path, view, shape):
            return "example position d", {}

        def present(self, inputs, point, tokens):
            return tokens.coords[:, 0] < inputs["length"][tokens.example]

    extractor = Ragged(nn.Linear(3, 4))
    (point,) = extractor.resolve([HookConfig(at="")])
    inputs = {"x": torch.randn(2, 4, 3), "length": torch.tensor([1, 3])}
    tokens = extractor.extract([8, 9], inputs, [point]).tokens[point.name]
    assert tokens.example.tolist() == [8, 9, 9, 9]
    assert tokens.coords[:, 0].tolist() == [0, 0, 1, 2]


def test_fingerprints_know_weights_and_preprocessing(maps):
    class Other(maps):
        def describe(self):
            return {"resize": 224}

    one = maps()
    assert one.fingerprint() == maps().fingerprint()
    assert one.parent() == Other().parent()
    assert one.fingerprint() != Other().fingerprint()
    changed = maps()
    changed.model[0].bias[0] += 1
    assert changed.fingerprint() != one.fingerprint()


def test_the_model_is_frozen(maps):
    extractor = maps()
    assert not extractor.model.training
    assert not any(weight.requires_grad for weight in extractor.model.parameters())
