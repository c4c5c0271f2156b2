"""Whether a checkpoint's tensors fit, said in words; and which model they come nearest to."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from omnisae.errors import ConfigError
from omnisae_vision.fit import compare, likeness, names_in_common, shapes, without_common_word
from omnisae_vision.fit_nearest import Library, advice, nearest
from omnisae_vision.fit_read import read
from omnisae_vision.plugin import TimmConfig
from omnisae_vision.weights import build

SHAPES = st.dictionaries(st.text("abc.", min_size=1, max_size=4), st.tuples(st.integers(1, 3), st.integers(1, 3)))


def test_what_does_not_fit_is_counted_and_shown():
    own = {"a": (2, 3), "b": (4,), "c": (1,), "scale": ()}
    found = {"a": (2, 5), "c": (1,), "scale": (), "x": (7,)}
    assert str(compare(own, found)) == (
        "1 has another shape: a [2 × 5, the model's 2 × 3]; 1 is missing: b [4]; 1 is unknown: x [7]"
    )
    many = compare({}, {f"t{i}": (i,) for i in range(5)})
    assert str(many) == "5 are unknown: t0 [0], t1 [1], t2 [2] and 2 more"
    assert str(compare({"s": ()}, {})) == "1 is missing: s [a number]"


@given(SHAPES, SHAPES)
def test_nothing_is_amiss_where_both_are_alike_and_only_there(own, found):
    assert bool(compare(own, found)) is (own != found)
    assert (likeness(own, found) == 1) is (own == found and bool(own))
    assert 0 <= likeness(own, found) <= names_in_common(own, found) <= 1
    assert likeness(own, found) == likeness(found, own)


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["model.a.w", "model.b"], ["a.w", "b"]),
        (["a.w", "b"], ["a.w", "b"]),
        (["model.a.w", "head.b"], ["model.a.w", "head.b"]),
        (["a.x", "a.y"], ["a.x", "a.y"]),  # the model's own word, not a wrapper's
        (["a", "a.w"], ["a", "a.w"]),
    ],
)
def test_a_word_that_all_names_begin_with_is_left_out_where_the_model_knows_them_so(names, kept):
    own = {"a.w": (1,), "b": (1,), "a.x": (1,)}
    assert list(without_common_word(own, {name: torch.zeros(1) for name in names})) == kept


def library(**models):
    """A library whose models are given by the widths of their layers; a family shares the first letter."""
    families = {}
    for name in models:
        families.setdefault(name[0], []).append(name)

    def make(name):
        if models[name] is None:
            raise RuntimeError("it needs what is not installed")
        return nn.ModuleDict({f"{name[0]}{i}": nn.Linear(w, w) for i, w in enumerate(models[name])})

    return Library(lambda: families, make)


def test_the_nearest_model_is_found_in_its_own_family_or_in_another():
    known = library(a_small=[2, 2], a_large=[3, 3], b_small=[2, 2], b_large=[5, 5, 5], broken=None)
    found = shapes(nn.ModuleDict({f"b{i}": nn.Linear(5, 5) for i in range(3)}).state_dict())
    assert nearest(found, known, "b_small") == ("b_large", 1.0)
    assert nearest(found, known, "a_small") == ("b_large", 1.0)
    assert advice(found, known, "a_small") == "did you mean model: b_large? 100% of its tensors agree by name and shape"
    assert nearest({"z": (9,)}, known, "a_small") is None
    assert "no model was found that comes nearer than 'a_small'" in advice({"z": (9,)}, known, "a_small")


def test_the_search_ends_when_its_time_is_over():
    known = library(**{f"a{i:03}": [i + 1] for i in range(200)})
    made = []
    counted = Library(known.families, lambda name: made.append(name) or known.build(name))
    nearest({"a0.weight": (500, 500), "a0.bias": (500,)}, counted, "a000", seconds=0)
    assert len(made) <= 3


def test_only_tensors_are_read(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no file .*absent\.pth"):
        read(tmp_path / "absent.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(ConfigError, match=r"broken\.safetensors cannot be read"):
        read(tmp_path / "broken.safetensors")
    torch.save({"state_dict": {"a": 3}}, tmp_path / "numbers.pth")
    with pytest.raises(ConfigError, match="holds no state_dict"):
        read(tmp_path / "numbers.pth")
    torch.save(
        {"teacher": {"module.a": torch.ones(2, dtype=torch.float16), "_orig_mod.n": torch.tensor(3)}},
        tmp_path / "t.pth",
    )
    weights, _ = read(tmp_path / "t.pth")
    assert {name: value.dtype for name, value in weights.items()} == {"a": torch.float32, "n": torch.int64}


def timm_weights(path, model, prefix="", **arguments):
    import timm

    made = timm.create_model(model, **arguments)
    save_file({prefix + name: value.contiguous() for name, value in made.state_dict().items()}, path)
    return made


def test_timm_is_told_which_tensors_and_which_model(tmp_path, monkeypatch):
    monkeypatch.setattr("omnisae_vision.fit_nearest.SECONDS", 120.0)  # on a busy machine, too
    path = tmp_path / "a.safetensors"
    timm_weights(path, "resnet26", num_classes=3)
    with pytest.raises(ConfigError, match=r"does not fit the model 'resnet18': \d+ have other shapes: ") as caught:
        build(TimmConfig(model="resnet18", checkpoint=str(path)))
    assert "layer1.0.conv1.weight [64 × 64 × 1 × 1, the model's 64 × 64 × 3 × 3]" in caught.value.problem
    assert "did you mean model: resnet26?" in caught.value.remedy


def test_a_wrappers_checkpoint_is_read(tmp_path):
    path = tmp_path / "a.safetensors"
    made = timm_weights(path, "resnet18", prefix="backbone.", num_classes=3)
    found = build(TimmConfig(model="resnet18", checkpoint=str(path))).model
    assert found.num_classes == 3
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in made.state_dict().items())
