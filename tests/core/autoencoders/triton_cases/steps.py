"""A whole training step by Triton's kernels: loss and gradients equal dense autograd in double precision."""

import copy
from typing import Any

import pytest
import torch
from test_sparse_step import dense_codes, dense_loss, gradients

from omnisae.autoencoders.autoencoder import Autoencoder, Step
from omnisae.autoencoders.configs import (
    AbsTopKConfig,
    BatchTopKConfig,
    JumpReLUConfig,
    L1Config,
    MatryoshkaConfig,
    MatryoshkaKConfig,
    TopKConfig,
)
from omnisae.autoencoders.kernels import device
from omnisae.autoencoders.kernels.triton import launch, selection
from omnisae.config import AuxKConfig
from omnisae.testing.planted import planted

X = planted(16, 32, 3, 6, 3)[0]
RULES = [TopKConfig(k=3), BatchTopKConfig(k=3), AbsTopKConfig(k=3)]
NESTINGS = [
    None,
    MatryoshkaConfig(prefixes=(5, 12, 40), weights=(1, 2, 3)),
    MatryoshkaKConfig(ks=(1, 3), weights="reverse"),
]
DEAD = [2, 3, 5, 7, 11, 13, 17]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are cut into groups and columns into tiles, as large ones are."""
    monkeypatch.setattr(selection, "WHOLE", 1)
    monkeypatch.setattr(launch, "COLUMNS", (8, 8))


def agree(double: Autoencoder, where: torch.device, expected: torch.Tensor | None = None) -> Step:
    """The step in fp32 by kernels against dense autograd in double precision."""
    single = copy.deepcopy(double).float().to(where)
    step = single(X.to(where))
    expected = dense_loss(double, X.double()) if expected is None else expected
    torch.testing.assert_close(step.loss.double().cpu(), expected, rtol=1e-5, atol=0)
    wanted = gradients(double, expected)
    for name, gradient in gradients(single, step.loss).items():
        scale = float(wanted[name].abs().max())
        torch.testing.assert_close(gradient.double().cpu(), wanted[name], rtol=1e-4, atol=1e-5 * scale, msg=name)
    return step


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.type)
@pytest.mark.parametrize("nesting", NESTINGS, ids=["plain", "nested", "over-k"])
def test_gradients(rule: Any, nesting: Any, start: Any, loose: Any, where: Any, no_plain: None) -> None:
    agree(loose(start(rule, nesting=nesting, penalties=(L1Config(weight=0.3),))), where)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.type)
@pytest.mark.parametrize("k", [2, 50])
def test_auxk(rule: Any, k: int, start: Any, loose: Any, where: Any, no_plain: None) -> None:
    """One latent has fired since the last look: it must take no part, though fewer than k are dead."""
    autoencoder = loose(start(rule, auxk=AuxKConfig(k=k, weight=0.7, dead_after=100)))
    autoencoder.silence.tokens[DEAD] = 100
    autoencoder.silence.candidates.copy_(autoencoder.dead())
    autoencoder.silence.tokens[17] = 0
    assert agree(autoencoder, where).terms["auxk"] > 0


def test_jumprelu(start: Any, loose: Any, where: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against PyTorch's operations in double precision, which other tests compare with dense autograd."""
    autoencoder = loose(start(JumpReLUConfig(l0=3)))
    monkeypatch.setattr(device, "DEVICES", set())
    expected = autoencoder(X.double()).loss
    monkeypatch.setattr(device, "DEVICES", {where.type})
    agree(autoencoder, where, expected)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.type)
def test_figures(rule: Any, start: Any, loose: Any, where: Any, no_plain: None) -> None:
    double = loose(start(rule))
    step = copy.deepcopy(double).float().to(where)(X.to(where))
    codes = dense_codes(double, X.double())
    assert torch.equal(step.fired.cpu(), (codes != 0).sum(0))
    error = X - codes @ double.decoder - double.decoder_bias
    assert float(step.sse) == pytest.approx(float(error.detach().square().sum()), rel=1e-5)


@pytest.mark.parametrize(
    ("rule", "precision"),
    [(RULES[0], "mixed"), (RULES[1], "mixed"), (RULES[1], "bf16"), (RULES[2], "bf16")],
    ids=["topk-mixed", "batchtopk-mixed", "batchtopk-bf16", "abstopk-bf16"],
)
def test_other_precisions(rule: Any, precision: Any, start: Any, where: Any, no_plain: None) -> None:
    """`mixed` decides in fp32, so that its loss is that of `exact`; `bf16`'s stays near."""
    autoencoder = start(rule, auxk=AuxKConfig(k=4, dead_after=1)).to(where)
    autoencoder.silence.after_step(torch.zeros(40, device=where), 1)
    autoencoder.silence.candidates.copy_(autoencoder.dead())
    exact = autoencoder(X.to(where))
    autoencoder.precision = precision
    step = autoencoder(X.to(where))
    tolerance = 1e-5 if precision == "mixed" else 0.05
    torch.testing.assert_close(step.loss, exact.loss, rtol=tolerance, atol=0)
    step.loss.backward()
    for parameter in autoencoder.parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


def test_training_lowers_the_loss(start: Any, train: Any, where: Any, no_plain: None) -> None:
    autoencoder = start(TopKConfig(k=3), auxk=AuxKConfig(k=4, dead_after=24)).to(where)
    x = X.to(where)
    before = autoencoder(x).loss
    train(autoencoder, x, steps=3, batch=12)
    assert autoencoder(x).loss < before
    torch.testing.assert_close(autoencoder.decoder.norm(dim=1).cpu(), torch.ones(40))
