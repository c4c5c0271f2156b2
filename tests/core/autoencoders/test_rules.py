"""Activation rules: thresholds learnt, estimators, norms of the decoder, and what configs refuse."""

from typing import Any

import pytest
import torch

from omnisae.autoencoders import presets
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import (
    AbsTopKConfig,
    BatchTopKConfig,
    JumpReLUConfig,
    L1Config,
    LayerNormConfig,
    MatryoshkaConfig,
    MatryoshkaKConfig,
    ReLUConfig,
    StandardConfig,
    TopKConfig,
)
from omnisae.config import AutoencoderConfig
from omnisae.errors import ConfigError
from omnisae.testing.planted import planted

X = planted(8, 16, 3, 256, 3)[0]
RULES = [TopKConfig(k=3), BatchTopKConfig(k=3), JumpReLUConfig(l0=3), ReLUConfig()]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.type)
def test_every_atom_has_norm_one_after_each_step(rule: Any, make: Any) -> None:
    autoencoder = make(rule, latents=24, width=8)
    optimiser = torch.optim.Adam(autoencoder.parameters(), lr=0.05)
    for _ in range(3):
        out = autoencoder(X)
        optimiser.zero_grad()
        out.loss.backward()
        autoencoder.before_step()
        along = (autoencoder.decoder.grad * autoencoder.decoder).sum(1)
        torch.testing.assert_close(along, torch.zeros(24), atol=1e-6, rtol=0)
        optimiser.step()
        autoencoder.after_step(out.fired, len(X))
        assert autoencoder.decoder.shape == (24, 8)
        torch.testing.assert_close(autoencoder.decoder.detach().norm(dim=1), torch.ones(24), atol=1e-6, rtol=1e-6)


def test_norms_are_free_where_the_config_says_so(make: Any) -> None:
    autoencoder = make(TopKConfig(k=3), unit_norm=False)
    out = autoencoder(X)
    out.loss.backward()
    before = autoencoder.decoder.grad.clone()
    autoencoder.before_step()
    assert torch.equal(autoencoder.decoder.grad, before)
    with torch.no_grad():
        autoencoder.decoder.mul_(3)
    autoencoder.after_step(out.fired, len(X))
    torch.testing.assert_close(autoencoder.decoder.detach().norm(dim=1), torch.full((24,), 3.0))


def test_l1_does_not_change_when_norm_moves_between_code_and_atom(make: Any) -> None:
    autoencoder = make(ReLUConfig(), penalties=(L1Config(weight=0.1),), unit_norm=False)
    before = autoencoder(X).terms
    with torch.no_grad():
        autoencoder.encoder.div_(5)
        autoencoder.decoder.mul_(5)
    after = autoencoder(X).terms
    for name, term in before.items():
        torch.testing.assert_close(after[name], term)


def test_l1_weighs_signed_codes_by_their_size(make: Any) -> None:
    autoencoder = make(AbsTopKConfig(k=3), penalties=(L1Config(weight=0.1),))
    codes, scale = autoencoder.encode(X).dense(), autoencoder.variance.sqrt()
    assert (codes < 0).any()
    expected = 0.1 * (codes.abs() @ autoencoder.decoder.norm(dim=1)).mean() / scale
    torch.testing.assert_close(autoencoder(X).terms["l1"], expected.detach())


def test_l1_rises_over_its_warm_up(make: Any) -> None:
    autoencoder = make(ReLUConfig(), penalties=(L1Config(weight=0.1, warmup=1000),))
    found = []
    for seen in (0, 500, 1000, 5000):
        autoencoder.seen.fill_(seen)
        found.append(float(autoencoder(X).terms["l1"]))
    assert found[0] == 0
    assert found[1] == pytest.approx(found[2] / 2)
    assert found[2] == found[3]


def test_batch_topk_threshold_is_the_mean_of_the_smallest_kept(make: Any) -> None:
    autoencoder = make(BatchTopKConfig(k=3))
    smallest = []
    for part in X.split(64):
        out = autoencoder(part)
        pre = (part - autoencoder.decoder_bias) @ autoencoder.encoder.T + autoencoder.encoder_bias
        smallest.append(float(pre.detach().flatten().topk(64 * 3).values.min()))
        autoencoder.after_step(out.fired, 64)
    assert float(autoencoder.activation.threshold) == pytest.approx(sum(smallest) / len(smallest), rel=1e-5)
    assert "activation.threshold" in autoencoder.state_dict()


def test_batch_topk_learns_nothing_while_evaluated(make: Any) -> None:
    autoencoder = make(BatchTopKConfig(k=3))
    autoencoder(X)
    before = autoencoder.activation.smallest.clone()
    autoencoder.eval()(X * 3)
    assert torch.equal(autoencoder.activation.smallest, before)


def test_batch_topk_fires_as_often_at_inference_as_in_training(make: Any, train: Any) -> None:
    x = planted(8, 16, 3, 2048, 1)[0]
    autoencoder = train(make(BatchTopKConfig(k=3)), x, steps=150, batch=256)
    assert len(autoencoder.encode(x).values) / len(x) == pytest.approx(3, rel=0.1)


def test_batch_topk_keeps_only_what_is_positive(make: Any) -> None:
    autoencoder = make(BatchTopKConfig(k=20))
    with torch.no_grad():
        autoencoder.encoder_bias.fill_(-100)
        autoencoder.encoder_bias[0] = 100
    out = autoencoder(X)
    assert out.fired.tolist() == [len(X)] + [0] * 23


def test_jumprelu_estimator_is_the_papers(make: Any) -> None:
    """∂z/∂θ = −(θ/ε) K((pre − θ)/ε), ∂H/∂θ = −(1/ε) K((pre − θ)/ε). Here they are written out."""
    rule = JumpReLUConfig(l0=2, weight=0.5, bandwidth=1.0).build(3).double()
    rule.bandwidth.fill_(0.4)
    with torch.no_grad():
        rule.log_threshold.copy_(torch.tensor([0.5, 1.0, 2.0]).log())
    pre = torch.tensor([[0.4, 1.1, 2.5], [0.69, 0.9, 1.9], [0.71, -3.0, 1.7]], dtype=torch.float64, requires_grad=True)
    upstream = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], dtype=torch.float64)
    theta, eps = rule.threshold.detach(), 0.4
    inside = ((pre.detach() - theta).abs() < eps / 2).double()
    (rule(pre) * upstream).sum().backward()
    torch.testing.assert_close(pre.grad, upstream * (pre.detach() > theta))
    wanted = -(theta / eps) * (upstream * inside).sum(0)
    torch.testing.assert_close(rule.log_threshold.grad, wanted * theta)

    rule.log_threshold.grad = pre.grad = None
    loss = rule.losses(pre)["l0_target"]
    l0 = (pre.detach() > theta).double().sum(1).mean()
    assert float(loss.detach()) == pytest.approx(0.5 * float((l0 / 2 - 1) ** 2))
    loss.backward()
    slope = 0.5 * 2 * (l0 / 2 - 1) / 2
    torch.testing.assert_close(rule.log_threshold.grad, slope * (-inside / eps).mean(0) * theta)
    assert pre.grad is None or not pre.grad.any()


def test_jumprelu_starts_at_its_target(make: Any) -> None:
    autoencoder = make(JumpReLUConfig(l0=3), normaliser=StandardConfig())
    assert float(autoencoder(planted(8, 16, 3, 512, 1)[0]).l0) == pytest.approx(3, rel=0.2)


@pytest.mark.parametrize(
    ("rule", "parts", "told"),
    [
        (TopKConfig(k=25), {}, "autoencoder.activation.k: 25 latents cannot fire of 24"),
        (JumpReLUConfig(l0=25), {}, "autoencoder.activation.l0: 25 latents cannot fire of 24"),
        (
            TopKConfig(k=3),
            {"nesting": MatryoshkaConfig(prefixes=(8, 16))},
            "the last is 16, and the autoencoder has 24",
        ),
        (TopKConfig(k=3), {"nesting": MatryoshkaConfig(prefixes=(16, 8, 24))}, "do not rise strictly"),
        (TopKConfig(k=3), {"nesting": MatryoshkaConfig(prefixes=(8, 24), weights=(1,))}, "1 weights for 2 prefixes"),
        (
            TopKConfig(k=3),
            {"nesting": MatryoshkaKConfig(ks=(2, 1, 3))},
            r"nesting\.ks: \[2, 1, 3\] do not rise strictly",
        ),
        (TopKConfig(k=3), {"nesting": MatryoshkaKConfig(ks=(0, 3))}, r"do not rise strictly\n.*from 1"),
        (
            BatchTopKConfig(k=3),
            {"nesting": MatryoshkaKConfig(ks=(1, 2))},
            r"nesting\.ks: the last is 2, and the activation rule keeps 3\n.*end the list with 3, or set .*k to 2",
        ),
        (
            JumpReLUConfig(l0=3),
            {"nesting": MatryoshkaKConfig(ks=(1, 3))},
            r"JumpReLU keeps no fixed number of them\n.*choose a rule with a k",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(rule: Any, parts: dict[str, Any], told: str, make: Any) -> None:
    with pytest.raises(ConfigError, match=told):
        make(rule, **parts)


def test_prefixes_may_be_shares(make: Any) -> None:
    assert make(TopKConfig(k=3), nesting=MatryoshkaConfig(prefixes=(0.25, 0.5, 24))).nesting.prefixes == (6, 12, 24)


@pytest.mark.parametrize(
    "config",
    [
        presets.relu_l1(32, 0.1),
        presets.jumprelu(32, 3),
        presets.topk(32, 3),
        presets.abstopk(32, 3),
        presets.batchtopk(32, 3),
        presets.matryoshka(32, 3),
        presets.archetypal(32, 3, points=16),
        presets.archetypal(32, 3, points=16, unit_norm=True),
        presets.msae(32, (1, 2, 4)),
        presets.msae(32, (1, 2, 4), weights="reverse"),
        presets.matryoshka(32, 3, prefixes=(4, 32), normaliser=LayerNormConfig()),
    ],
)
def test_presets_are_configs_that_train(config: AutoencoderConfig, train: Any) -> None:
    assert AutoencoderConfig.model_validate(config.model_dump(mode="json", serialize_as_any=True)) == config
    autoencoder = Autoencoder(config, 8, 0)
    autoencoder.initialise(X)
    before = float(autoencoder(X).terms["reconstruction"])
    train(autoencoder, X, steps=20, batch=64)
    assert float(autoencoder(X).terms["reconstruction"]) < before
