"""The sparse training step computes what dense autograd computes."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from omnisae.autoencoders import jumprelu, preactivations
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import (
    AbsTopKConfig,
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

X = planted(8, 16, 3, 40, 3)[0].double()
RULES = [TopKConfig(k=3), BatchTopKConfig(k=3), AbsTopKConfig(k=3)]
NESTINGS = [None, MatryoshkaConfig(prefixes=(5, 12, 24), weights=(1, 2, 3)), MatryoshkaConfig(prefixes=(1, 23, 24))]
OVER_K = [MatryoshkaKConfig(ks=(1, 3)), MatryoshkaKConfig(ks=(1, 2, 3), weights="reverse"), MatryoshkaKConfig(ks=(3,))]
NAMES = ["plain", "nested", "uneven", "over-k", "over-k-reverse", "over-one-k"]


def dense_codes(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    pre = (x - autoencoder.decoder_bias) @ autoencoder.encoder.T + autoencoder.encoder_bias
    k = autoencoder.activation.k
    if isinstance(autoencoder.config.activation, AbsTopKConfig):
        return pre * torch.zeros_like(pre).scatter(1, pre.abs().topk(k, dim=1).indices, 1.0)
    if isinstance(autoencoder.config.activation, TopKConfig):
        mask = torch.zeros_like(pre).scatter(1, pre.topk(k, dim=1).indices, 1.0)
    else:
        mask = (pre >= pre.flatten().sort().values[-k * len(x)]).double()
    return torch.relu(pre) * mask


def dense_prefixes(autoencoder: Autoencoder, codes: Tensor) -> list[Tensor]:
    """The codes of each nest: of the first latents, or of the largest codes of each token."""
    if not isinstance(nesting := autoencoder.config.nesting, MatryoshkaKConfig):
        return [codes * (torch.arange(codes.shape[1]) < prefix) for prefix in autoencoder.nesting.prefixes]
    best = [codes.abs().topk(k, dim=1).indices for k in nesting.ks[:-1]]
    return [codes * torch.zeros_like(codes).scatter(1, some, 1.0) for some in best] + [codes]


def dense_loss(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    """The loss written out with dense matrices."""
    codes = dense_codes(autoencoder, x)
    total = torch.zeros((), dtype=x.dtype)
    for part, weight in zip(dense_prefixes(autoencoder, codes), autoencoder.nesting.weights, strict=True):
        guess = part @ autoencoder.decoder + autoencoder.decoder_bias
        total = total + weight * (x - guess).square().sum() / (len(x) * autoencoder.variance)
    for penalty in autoencoder.config.penalties:
        weighted = (codes.abs() * autoencoder.decoder.norm(dim=1)).sum() / (len(x) * autoencoder.variance.sqrt())
        total = total + penalty.weight * weighted
    dead = autoencoder.dead()
    if autoencoder.auxk.k and dead.any():
        e = (x - codes @ autoencoder.decoder - autoencoder.decoder_bias).detach()
        pre = (x - autoencoder.decoder_bias.detach()) @ autoencoder.encoder.T + autoencoder.encoder_bias
        count = min(autoencoder.auxk.k, int(dead.sum()))
        if isinstance(autoencoder.config.activation, AbsTopKConfig):
            best = pre.masked_fill(~dead, 0.0).abs().topk(count, dim=1).indices
            kept = pre.gather(1, best)
        else:
            kept, best = pre.masked_fill(~dead, -torch.inf).topk(count, dim=1)
            kept = torch.relu(kept)
        guess = torch.zeros_like(pre).scatter(1, best, kept) @ autoencoder.decoder
        total = total + autoencoder.auxk.weight * (e - guess).square().sum() / (e - e.mean(0)).square().sum()
    return total


def gradients(autoencoder: Autoencoder, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*autoencoder.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.type)
@pytest.mark.parametrize("nesting", NESTINGS + OVER_K, ids=NAMES)
@pytest.mark.parametrize("chunk", [1, 2**22])
def test_gradients_equal_dense_autograd(
    rule: Any, nesting: Any, chunk: int, make: Any, loose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(preactivations.CHUNK_ELEMENTS, "cpu", chunk)
    autoencoder = loose(make(rule, nesting=nesting, penalties=(L1Config(weight=0.3),)))
    step = autoencoder(X)
    expected = dense_loss(autoencoder, X)
    torch.testing.assert_close(step.loss, expected, rtol=1e-12, atol=0)
    wanted = gradients(autoencoder, expected)
    for name, gradient in gradients(autoencoder, step.loss).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.type)
@pytest.mark.parametrize("k", [2, 50])
def test_auxk_gradients_equal_dense_autograd(rule: Any, k: int, make: Any, loose: Any) -> None:
    autoencoder = loose(make(rule, auxk=AuxKConfig(k=k, weight=0.7, dead_after=100)))
    autoencoder.silence.tokens[[2, 3, 5, 7, 11, 13]] = 100
    autoencoder.silence.candidates.copy_(autoencoder.dead())
    step = autoencoder(X)
    assert step.terms["auxk"] > 0
    expected = dense_loss(autoencoder, X)
    torch.testing.assert_close(step.loss, expected, rtol=1e-12, atol=0)
    wanted = gradients(autoencoder, expected)
    for name, gradient in gradients(autoencoder, step.loss).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.type)
def test_figures_of_a_step(rule: Any, make: Any, loose: Any) -> None:
    autoencoder = loose(make(rule))
    step = autoencoder(X)
    codes = dense_codes(autoencoder, X)
    assert torch.equal(step.fired, (codes != 0).sum(0))
    assert float(step.l0) == pytest.approx(float((codes != 0).sum(1).double().mean()))
    error = X - codes @ autoencoder.decoder - autoencoder.decoder_bias
    assert float(step.sse) == pytest.approx(float(error.detach().square().sum()))
    assert float(step.sst) == pytest.approx(float((X - autoencoder.centre).square().sum()))


def _strided(t: Any) -> bool:
    return isinstance(t, Tensor) and t.layout == torch.strided


def test_training_step_holds_no_dense_matrix(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(preactivations.CHUNK_ELEMENTS, "cpu", 1)
    autoencoder = make(TopKConfig(k=3), latents=400, width=8)
    x = planted(8, 16, 3, 256, 3)[0]
    sizes: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in tree_leaves(out) if _strided(t))
            return out

    with Watch():
        step = autoencoder(x)
        step.loss.backward()
    assert max(sizes) < 256 * 400 / 8


@pytest.mark.parametrize("precision", ["mixed", "bf16"])
@pytest.mark.parametrize("rule", [*RULES, JumpReLUConfig(l0=3), ReLUConfig()], ids=lambda rule: rule.type)
def test_other_precisions_stay_near(rule: Any, precision: Any, make: Any) -> None:
    autoencoder = make(rule, auxk=AuxKConfig(k=4, dead_after=1))
    autoencoder.silence.after_step(torch.zeros(24), 1)
    autoencoder.silence.candidates.copy_(autoencoder.dead())
    x = planted(8, 16, 3, 256, 3)[0]
    full = autoencoder(x)
    autoencoder.precision = precision
    half = autoencoder(x)
    half.loss.backward()
    assert half.loss.dtype == torch.float32
    for name, term in full.terms.items():
        torch.testing.assert_close(half.terms[name], term, rtol=0.05, atol=0.01)
    for parameter in autoencoder.parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("nesting", NESTINGS, ids=["plain", "nested", "uneven"])
@pytest.mark.parametrize("bandwidth", [0.02, 0.3])
def test_jumprelu_picks_all_that_has_a_gradient(
    bandwidth: float, nesting: Any, make: Any, loose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sparse step against the same rule's dense one."""
    autoencoder = loose(make(JumpReLUConfig(l0=3, bandwidth=bandwidth), nesting=nesting))
    monkeypatch.setattr(jumprelu, "DENSE", 1.0)
    sparse = autoencoder(X)
    found = gradients(autoencoder, sparse.loss)
    monkeypatch.setattr(jumprelu, "DENSE", -1.0)
    dense = autoencoder(X)
    wanted = gradients(autoencoder, dense.loss)
    assert torch.equal(sparse.fired, dense.fired)
    for name, term in dense.terms.items():
        torch.testing.assert_close(sparse.terms[name], term, rtol=1e-12, atol=0)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


SINGLE = [
    *product(RULES, NESTINGS + OVER_K),
    *product([JumpReLUConfig(l0=3, bandwidth=0.02)], NESTINGS),
]


@pytest.mark.parametrize(("rule", "nesting"), SINGLE, ids=lambda part: getattr(part, "type", "plain"))
@pytest.mark.parametrize("precision", ["exact", "mixed"])
def test_single_precision_is_near_double(rule: Any, nesting: Any, precision: Any, make: Any, loose: Any) -> None:
    """The kernels of the CPU in fp32 against PyTorch's in fp64: relative 1e-4 of the largest gradient."""
    autoencoder = loose(make(rule, nesting=nesting, auxk=AuxKConfig(k=2, weight=0.7, dead_after=100)))
    autoencoder.silence.tokens[[2, 3, 5, 7]] = 100
    autoencoder.silence.candidates.copy_(autoencoder.dead())
    wanted = gradients(autoencoder, autoencoder(X).loss)
    autoencoder.float()
    autoencoder.silence.forget()
    autoencoder.precision = precision
    for name, gradient in gradients(autoencoder, autoencoder(X.float()).loss).items():
        error = (gradient.double() - wanted[name]).abs().max()
        assert error <= 1e-4 * wanted[name].abs().max(), name
