import copy

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from omnisae.hooks.fingerprint import fingerprint


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))


def test_equal_models_have_equal_fingerprints():
    assert fingerprint(model()) == fingerprint(model())
    assert fingerprint(model(), {"a": 1, "b": 2}) == fingerprint(model(), {"b": 2, "a": 1})
    assert len(fingerprint(model())) == 64


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_bit_of_every_tensor_counts(data):
    changed = model()
    name = data.draw(st.sampled_from(sorted(changed.state_dict())))
    flat = changed.state_dict()[name].reshape(-1).view(torch.uint8)
    flat[data.draw(st.integers(0, len(flat) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert fingerprint(changed) != fingerprint(model())


def test_names_types_and_extras_count():
    one = model()
    assert fingerprint(one) != fingerprint(nn.Sequential(*one.children(), nn.Identity(), nn.Linear(1, 1)))
    assert fingerprint(one) != fingerprint(nn.ModuleDict({"x": copy.deepcopy(one)}))
    assert fingerprint(one) != fingerprint(copy.deepcopy(one).to(torch.bfloat16))
    assert fingerprint(one, "resize 224") != fingerprint(one, "resize 256")
