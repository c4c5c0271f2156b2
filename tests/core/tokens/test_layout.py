import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.errors import LayoutError
from omnisae.tokens.arrange import flatten, restore
from omnisae.tokens.layout import Layout


@st.composite
def layouts(draw):
    """A random layout with sizes, and the shape of a tensor that it fits."""
    axes = [f"a{i}" for i in range(draw(st.integers(0, 3)))]
    roles = [f"r{i}" for i in range(draw(st.integers(0, 2)))]
    sizes = {name: draw(st.integers(1, 4)) for name in ["example", "d", *axes, *roles]}
    names = draw(st.permutations(["example", "d", *axes]))
    dims: list[list[str]] = []
    for name in names:
        if dims and draw(st.booleans()):
            dims[-1].append(name)
        else:
            dims.append([name])
    words = [f"({' '.join(dim)})" if len(dim) > 1 else dim[0] for dim in dims]
    shape = [math.prod(sizes[name] for name in dim) for dim in dims]
    if roles:
        free = [i for i, dim in enumerate(dims) if not {"example", "d"} & set(dim)]
        brackets = [f"[{role}]" for role in roles]
        extra = sum(sizes[role] for role in roles)
        if free and draw(st.booleans()):
            at = draw(st.sampled_from(free))
            segments = [*brackets, " ".join(dims[at])]
            words[at] = f"({' + '.join(draw(st.permutations(segments)))})"
            shape[at] += extra
        else:
            at = draw(st.integers(0, len(words)))
            words.insert(at, f"({' + '.join(brackets)})" if len(brackets) > 1 else brackets[0])
            shape.insert(at, extra)
    pattern = " ".join(words)
    declared = {name: size for name, size in sizes.items() if name != "example"}
    return Layout(pattern, declared), tuple(shape)


def slow_tokens(tensor, layout):
    """Every token by walking over every element of the tensor: {(example, role, coords, nth special) → vector}."""
    sizes = layout.fit(tuple(tensor.shape))
    axes = [axis.name for axis in layout.axes]
    found = {}
    for index in torch.cartesian_prod(*(torch.arange(n) for n in tensor.shape)).reshape(-1, tensor.ndim).tolist():
        place, role, nth = {}, "content", 0
        for at, dim in zip(index, layout.dims, strict=True):
            for segment in dim:
                span = sizes[segment.role] if segment.role != "content" else math.prod(sizes[n] for n in segment.names)
                if at < span:
                    break
                at -= span
            if segment.role != "content":
                role, nth = segment.role, at
            for name in reversed(segment.names):
                at, place[name] = divmod(at, sizes[name])
        key = (place["example"], role, tuple(place.get(axis, -1) for axis in axes), nth)
        found.setdefault(key, {})[place["d"]] = float(tensor[tuple(index)])
    return {key: [vector[i] for i in range(sizes["d"])] for key, vector in found.items()}


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_restoring_gives_the_tensor_back(case):
    layout, shape = case
    tensor = torch.randn(shape)
    tokens = flatten(tensor, layout)
    assert torch.equal(restore(tokens.values, layout, tokens.sizes), tensor)
    assert tokens.values.shape[0] == len(tokens.example) == len(tokens.coords) == len(tokens.role)


@settings(max_examples=40, deadline=None)
@given(layouts())
def test_coordinates_agree_with_a_walk_over_the_tensor(case):
    layout, shape = case
    tensor = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)
    tokens, seen = flatten(tensor, layout), {}
    for vector, example, coords, role in zip(
        tokens.values.tolist(), tokens.example.tolist(), tokens.coords.tolist(), tokens.role.tolist(), strict=True
    ):
        key = (example, layout.roles[role], tuple(coords))
        seen.setdefault(key, []).append(vector)
    slow: dict = {}
    for (example, role, coords, _), vector in sorted(slow_tokens(tensor, layout).items(), key=lambda item: item[0]):
        slow.setdefault((example, role, coords), []).append(vector)
    assert seen == slow
    assert tokens.example.tolist() == sorted(tokens.example.tolist())


def test_special_tokens_keep_the_coordinates_they_have():
    layout = Layout("example time ([cls] + y x) d", {"y": 1, "x": 2})
    tokens = flatten(torch.randn(1, 2, 3, 4), layout)
    # The tokens of one block stand together: first all [cls], then the content.
    assert tokens.coords.tolist() == [[0, -1, -1], [1, -1, -1], [0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1]]
    assert tokens.role.tolist() == [1, 1, 0, 0, 0, 0]


def test_a_role_may_be_a_dimension_of_its_own():
    tokens = flatten(torch.randn(2, 5, 3), Layout("example [query] d", {"query": 5}))
    assert tokens.values.shape == (10, 3)
    assert tokens.coords.shape == (10, 0)
    assert set(tokens.role.tolist()) == {1}


def test_an_empty_batch_is_restored():
    layout = Layout("example ([cls] + y x) d", {"y": 2, "x": 2})
    tokens = flatten(torch.randn(0, 5, 3), layout)
    assert restore(tokens.values, layout, tokens.sizes).shape == (0, 5, 3)


@pytest.mark.parametrize(
    ("pattern", "sizes", "says"),
    [
        ("y x d", {}, "names 'example' 0 times"),
        ("example d d", {}, "names 'd' 2 times"),
        ("example y y d", {}, "repeats 'y'"),
        ("example ([y] + y) d", {}, "repeats 'y'"),
        ("example ([content] + y) d", {}, "calls special tokens 'content'"),
        ("example (y x d", {}, "cannot read '(y x d'"),
        ("example (y + x) d", {}, "two runs of content"),
        ("example ([cls] + d)", {}, "concatenates tokens with 'example' or 'd'"),
        ("example [a] [b] d", {}, "special tokens along more than one dimension"),
        ("example y d", {"x": 3}, "has no 'x'"),
        ("example y d", {"y": 0}, "sizes below 1"),
        ("example () d", {}, "cannot read ''"),
        ("exam-ple d", {}, "cannot read"),
    ],
)
def test_a_malformed_pattern_is_refused(pattern, sizes, says):
    with pytest.raises(LayoutError) as caught:
        Layout(pattern, sizes)
    assert says in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("pattern", "sizes", "shape", "says"),
    [
        ("example (y x) d", {"y": 14, "x": 14}, (2, 197, 8), "has 197 along 'y x', and the layout declares 196"),
        ("example (y x) d", {}, (2, 196, 8), "leaves the sizes of y, x open"),
        ("example (y x) d", {"y": 14}, (2, 197, 8), "has 197 along 'y x', no multiple of 14"),
        ("example d y x", {}, (2, 3, 4), "has 3 dimensions and the pattern 4"),
        ("example ([reg] + y) d", {"reg": 4}, (2, 3, 8), "special tokens alone make 4"),
        ("example [reg] d", {"reg": 4}, (2, 3, 8), "has 3 where the special tokens make 4"),
    ],
)
def test_a_misfit_shows_shape_and_pattern(pattern, sizes, shape, says):
    with pytest.raises(LayoutError) as caught:
        flatten(torch.zeros(shape), Layout(pattern, sizes))
    assert says in str(caught.value)
    assert pattern in str(caught.value)
    assert str(list(shape)) in str(caught.value)
