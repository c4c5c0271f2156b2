"""Each loss reaches each parameter that it should, and no other."""

from typing import Any

import pytest
import torch

from omnisae.autoencoders.configs import (
    BatchTopKConfig,
    JumpReLUConfig,
    L1Config,
    MatryoshkaConfig,
    MatryoshkaKConfig,
    ReLUConfig,
    TopKConfig,
)
from omnisae.config import AuxKConfig
from omnisae.testing.planted import planted

X = planted(8, 16, 3, 64, 3)[0].double()
ALL = {"encoder", "encoder_bias", "decoder", "decoder_bias"}
DEAD = torch.tensor([1, 4, 9])


def gradient_of(autoencoder: Any, term: str) -> dict[str, torch.Tensor]:
    """The gradient of one weighted term, as the difference that switching the others off leaves."""
    step = autoencoder(X)
    names = list(step.terms)
    # The terms are stacked and summed: the stack's inputs are the terms themselves, in the order of their names.
    edge = step.loss.grad_fn.next_functions[0][0].next_functions[names.index(term)][0]
    out: dict[str, torch.Tensor] = {}
    for parameter in autoencoder.parameters():
        parameter.grad = None
    seed = torch.ones((), dtype=torch.float64)
    torch.autograd.backward(torch.autograd.graph.GradientEdge(edge, 0), seed)
    for name, parameter in autoencoder.named_parameters():
        if parameter.grad is not None and bool(parameter.grad.any()):
            assert parameter.grad.isfinite().all()
            out[name] = parameter.grad
    return out


@pytest.mark.parametrize(
    ("rule", "also"),
    [
        (TopKConfig(k=3), set()),
        (BatchTopKConfig(k=3), set()),
        (ReLUConfig(), set()),
        (JumpReLUConfig(l0=3, bandwidth=0.5), {"activation.log_threshold"}),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
@pytest.mark.parametrize("nesting", [None, MatryoshkaConfig(prefixes=(6, 24))], ids=["plain", "nested"])
def test_reconstruction_reaches_everything(rule: Any, also: set[str], nesting: Any, make: Any, loose: Any) -> None:
    autoencoder = loose(make(rule, nesting=nesting))
    assert set(gradient_of(autoencoder, "reconstruction")) == ALL | also


@pytest.mark.parametrize("rule", [TopKConfig(k=3), BatchTopKConfig(k=3)], ids=lambda rule: rule.type)
def test_nests_over_k_reach_everything(rule: Any, make: Any, loose: Any) -> None:
    autoencoder = loose(make(rule, nesting=MatryoshkaKConfig(ks=(1, 2, 3))))
    assert set(gradient_of(autoencoder, "reconstruction")) == ALL


@pytest.mark.parametrize("rule", [TopKConfig(k=3), ReLUConfig()], ids=lambda rule: rule.type)
def test_l1_reaches_the_encoder_and_the_norms_of_the_decoder(rule: Any, make: Any, loose: Any) -> None:
    autoencoder = loose(make(rule, penalties=(L1Config(weight=0.1),)))
    found = gradient_of(autoencoder, "l1")
    assert set(found) == ALL
    along = torch.nn.functional.normalize(autoencoder.decoder.detach(), dim=1)
    rejected = found["decoder"] - (found["decoder"] * along).sum(1, keepdim=True) * along
    torch.testing.assert_close(rejected, torch.zeros_like(rejected))


def test_l0_target_reaches_the_thresholds_alone(make: Any, loose: Any) -> None:
    autoencoder = loose(make(JumpReLUConfig(l0=1.5, bandwidth=0.5)))
    found = gradient_of(autoencoder, "l0_target")
    assert set(found) == {"activation.log_threshold"}
    # Too many fire: descent raises thresholds.
    assert autoencoder(X).l0 > 1.5
    assert (found["activation.log_threshold"] <= 0).all()


@pytest.mark.parametrize("rule", [TopKConfig(k=3), BatchTopKConfig(k=3), ReLUConfig()], ids=lambda rule: rule.type)
def test_auxk_reaches_dead_latents_alone(rule: Any, make: Any, loose: Any) -> None:
    autoencoder = loose(make(rule, auxk=AuxKConfig(k=2, weight=1.0, dead_after=10)))
    autoencoder.silence.tokens[DEAD] = 10
    autoencoder.silence.candidates.copy_(autoencoder.dead())
    found = gradient_of(autoencoder, "auxk")
    assert set(found) == {"encoder", "encoder_bias", "decoder"}
    dead = torch.zeros(24, dtype=torch.bool)
    dead[DEAD] = True
    for name, gradient in found.items():
        rows = gradient.reshape(24, -1).any(1)
        assert not rows[~dead].any(), f"{name}: a living latent is moved"
        assert rows[dead].all(), f"{name}: a dead latent is not reached"


def test_auxk_leaves_out_a_latent_that_has_fired_since(make: Any, loose: Any) -> None:
    autoencoder = loose(make(TopKConfig(k=3), auxk=AuxKConfig(k=3, weight=1.0, dead_after=10)))
    autoencoder.silence.tokens[DEAD] = 10
    autoencoder.silence.candidates.copy_(autoencoder.dead())
    autoencoder.silence.tokens[DEAD[0]] = 0
    found = gradient_of(autoencoder, "auxk")
    assert not found["encoder"][DEAD[0]].any()
    assert found["encoder"][DEAD[1:]].any(1).all()


def test_no_dead_latent_no_auxk(make: Any, loose: Any) -> None:
    autoencoder = loose(make(TopKConfig(k=3), auxk=AuxKConfig(k=2)))
    assert autoencoder(X).terms["auxk"] == 0
