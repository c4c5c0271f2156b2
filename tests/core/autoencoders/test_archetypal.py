"""The archetypal decoder: its formula, what its parts satisfy, and what reaches them through the sparse step."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisae.autoencoders import preactivations
from omnisae.autoencoders.archetypal import Archetypal
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import (
    AbsTopKConfig,
    ArchetypalConfig,
    BatchTopKConfig,
    L1Config,
    MatryoshkaConfig,
    ReLUConfig,
    TopKConfig,
)
from omnisae.autoencoders.group import Group
from omnisae.autoencoders.shard import Shard
from omnisae.config import AuxKConfig
from omnisae.errors import ConfigError
from omnisae.testing.planted import planted
from omnisae.testing.processes import together

X = planted(8, 16, 3, 40, 3)[0].double()
RULES = [TopKConfig(k=3), BatchTopKConfig(k=3), AbsTopKConfig(k=3), ReLUConfig()]
NESTED = MatryoshkaConfig(prefixes=(5, 12, 24), weights=(1, 2, 3))
PARTS = {"dictionary.weights", "dictionary.relaxation", "dictionary.multiplier"}
UNIT = pytest.mark.parametrize("unit", [True, False], ids=["unit", "scaled"])


@pytest.fixture
def archetypal(make: Any) -> Any:
    """Builds one in double precision, off its special starting values but on what its parts must satisfy."""

    def build(rule: Any, unit: bool, *, points: int = 10, delta: float = 0.5, **parts: Any) -> Autoencoder:
        made = make(rule, decoder=ArchetypalConfig(points=points, delta=delta), unit_norm=unit, **parts).double()
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        made.after_step(torch.ones(24), 1)
        return made

    return build


def formula(weights: Tensor, points: Tensor, relaxation: Tensor, m: Tensor | float, delta: float) -> Tensor:
    """D = (relu(W) over its rows' sums · C + Λ, cut to δ) · eᵐ, row by row and entry by entry."""
    rows = []
    for w, extra in zip(weights, relaxation, strict=True):
        kept = [max(float(entry), 0.0) for entry in w]
        mixture = sum(entry / sum(kept) * point for entry, point in zip(kept, points, strict=True))
        rows.append((mixture + extra * min(1.0, delta / float(extra.norm()))) * np.exp(float(m)))
    return torch.stack(rows)


def test_rows_are_the_papers() -> None:
    generator = torch.Generator().manual_seed(0)
    made = Archetypal(7, 4, 5, "rows", 0.5, False).double()
    with torch.no_grad():
        for tensor in (made.weights, made.relaxation, made.points, made.multiplier):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    parts = (made.weights, made.points, made.relaxation, made.multiplier)
    wanted = formula(*(part.detach() for part in parts), 0.5)
    made.after_step()
    torch.testing.assert_close(made().detach(), wanted)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3), st.floats(0.01, 10.0))
def test_what_the_parts_satisfy_after_any_step(seed: int, size: float, delta: float) -> None:
    """Mixtures, near them, and a second projection changes nothing: also where a step took all of a row."""
    generator = torch.Generator().manual_seed(seed)
    made = Archetypal(6, 3, 4, "rows", delta, True)
    with torch.no_grad():
        made.weights.copy_(size * torch.randn(6, 4, generator=generator))
        made.weights[0] = -1.0
        made.relaxation.copy_(size * torch.randn(6, 3, generator=generator))
        made.points.copy_(torch.randn(4, 3, generator=generator))
    made.after_step()
    assert (made.weights >= 0).all()
    torch.testing.assert_close(made.weights.sum(1), torch.ones(6))
    assert (made.relaxation.norm(dim=1) <= delta * (1 + 1e-5)).all()
    assert ((made() - made.weights @ made.points).norm(dim=1) <= delta * (1 + 1e-4)).all()
    before = made.weights.clone(), made.relaxation.clone()
    made.after_step()
    torch.testing.assert_close((made.weights, made.relaxation), before)


def dense_rows(autoencoder: Autoencoder) -> Tensor:
    """The rows by autograd alone, from parameters that satisfy what they must."""
    part = autoencoder.dictionary
    weights = part.weights / part.weights.sum(1, keepdim=True)
    rows = weights @ part.points + part.relaxation
    if autoencoder.config.unit_norm:
        return rows / rows.norm(dim=1, keepdim=True)
    return rows * part.multiplier.exp()


def dense_loss(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    """The loss written out with dense matrices; `dead` latents reconstruct what the others leave."""
    decoder, rule = dense_rows(autoencoder), autoencoder.config.activation
    pre = (x - autoencoder.decoder_bias) @ autoencoder.encoder.T + autoencoder.encoder_bias
    if isinstance(rule, AbsTopKConfig):
        codes = pre * torch.zeros_like(pre).scatter(1, pre.abs().topk(3, dim=1).indices, 1.0)
    elif isinstance(rule, TopKConfig):
        codes = torch.relu(pre) * torch.zeros_like(pre).scatter(1, pre.topk(3, dim=1).indices, 1.0)
    elif isinstance(rule, BatchTopKConfig):
        codes = torch.relu(pre) * (pre >= pre.flatten().sort().values[-3 * len(x)])
    else:
        codes = torch.relu(pre)
    total, scale = torch.zeros((), dtype=x.dtype), len(x) * autoencoder.variance
    for prefix, weight in zip(autoencoder.nesting.prefixes, autoencoder.nesting.weights, strict=True):
        left = x - codes[:, :prefix] @ decoder[:prefix] - autoencoder.decoder_bias
        total = total + weight * left.square().sum() / scale
    for penalty in autoencoder.config.penalties:
        total = total + penalty.weight * (codes.abs() @ decoder.norm(dim=1)).sum() / (scale * len(x)).sqrt()
    if autoencoder.auxk.k:
        e = left.detach()
        pre = (x - autoencoder.decoder_bias.detach()) @ autoencoder.encoder.T + autoencoder.encoder_bias
        sizes = pre.abs() if isinstance(rule, AbsTopKConfig) else pre
        best = sizes.masked_fill(~autoencoder.dead(), -torch.inf).topk(autoencoder.auxk.k, dim=1).indices
        kept = pre.gather(1, best)
        kept = kept if isinstance(rule, AbsTopKConfig) else torch.relu(kept)
        guess = torch.zeros_like(pre).scatter(1, best, kept) @ decoder
        total = total + autoencoder.auxk.weight * (e - guess).square().sum() / (e - e.mean(0)).square().sum()
    return total


def gradients(autoencoder: Autoencoder, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*autoencoder.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@UNIT
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.type)
@pytest.mark.parametrize("nesting", [None, NESTED], ids=["plain", "nested"])
def test_gradients_equal_dense_autograd(rule: Any, unit: bool, nesting: Any, archetypal: Any) -> None:
    auxk = AuxKConfig(k=2, weight=0.7, dead_after=100)
    autoencoder = archetypal(rule, unit, nesting=nesting, penalties=(L1Config(weight=0.3),), auxk=auxk)
    autoencoder.silence.tokens[[2, 3, 5, 7, 11, 13]] = 100
    autoencoder.silence.candidates.copy_(autoencoder.dead())
    autoencoder.silence.forget()
    step, expected = autoencoder(X), dense_loss(autoencoder, X)
    assert step.terms["auxk"] > 0
    torch.testing.assert_close(step.loss, expected, rtol=1e-12, atol=0)
    wanted = gradients(autoencoder, expected)
    assert wanted.keys() >= (PARTS - {"dictionary.multiplier"} if unit else PARTS)
    for name, gradient in gradients(autoencoder, step.loss).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("rule", [TopKConfig(k=3), ReLUConfig()], ids=lambda rule: rule.type)
def test_each_loss_reaches_what_it_should(rule: Any, archetypal: Any) -> None:
    """The reconstruction and the penalty reach all parts; AuxK those of dead latents, and the one scale of all."""
    auxk, dead = AuxKConfig(k=2, weight=1.0, dead_after=100), torch.zeros(24, dtype=torch.bool)
    dead[[1, 4, 9]] = True
    for term in ("reconstruction", "l1", "auxk"):
        autoencoder = archetypal(rule, False, penalties=(L1Config(weight=0.1),), auxk=auxk)
        autoencoder.silence.tokens[dead] = 100
        autoencoder.silence.candidates.copy_(autoencoder.dead())
        autoencoder.silence.forget()
        step = autoencoder(X)
        edge = step.loss.grad_fn.next_functions[0][0].next_functions[list(step.terms).index(term)][0]
        torch.autograd.backward(torch.autograd.graph.GradientEdge(edge, 0), torch.ones((), dtype=torch.float64))
        found = {name: p.grad for name, p in autoencoder.named_parameters() if p.grad is not None and p.grad.any()}
        biases = {"decoder_bias"} if term != "auxk" else set()
        assert set(found) == {"encoder", "encoder_bias"} | biases | PARTS, term
        rows = found["dictionary.weights"].any(1)
        if term == "auxk":
            assert rows[dead].any()
            assert not rows[~dead].any()


@UNIT
def test_a_step_keeps_what_the_rows_are(unit: bool, make: Any) -> None:
    """The buffer is what the parts make, after every step; unit rows are so without the optimiser's help."""
    autoencoder = make(TopKConfig(k=3), decoder=ArchetypalConfig(points=10), unit_norm=unit)
    assert not isinstance(autoencoder.decoder, torch.nn.Parameter)
    optimiser, first = torch.optim.Adam(autoencoder.parameters(), lr=0.05), autoencoder.decoder_rows().clone()
    for _ in range(4):
        out = autoencoder(X.float())
        optimiser.zero_grad()
        out.loss.backward()
        autoencoder.before_step()
        optimiser.step()
        autoencoder.after_step(out.fired, len(X))
        torch.testing.assert_close(autoencoder.decoder_rows(), dense_rows(autoencoder).detach())
    assert not torch.equal(autoencoder.decoder_rows(), first)
    if unit:
        torch.testing.assert_close(autoencoder.decoder_rows().norm(dim=1), torch.ones(24))


@UNIT
def test_where_it_starts(unit: bool, make: Any) -> None:
    """Every row mostly at one point, each point before any twice, the mean square of rows one, nothing beside them."""
    autoencoder = make(TopKConfig(k=3), decoder=ArchetypalConfig(points=10), unit_norm=unit)
    part = autoencoder.dictionary
    torch.testing.assert_close(part.weights.sum(1), torch.ones(24))
    own = part.weights.argmax(1)
    assert sorted(own[:10].tolist()) == sorted(own[10:20].tolist()) == list(range(10))
    assert (part.weights.max(1).values >= 0.8).all()
    assert not part.relaxation.any()
    assert float(autoencoder.decoder_rows().square().sum(1).mean()) == pytest.approx(1.0, rel=1e-5)
    assert (part.multiplier is None) == unit


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(2, 9))
def test_no_two_latents_start_alike(seed: int, latents: int, points: int) -> None:
    """Also where there are more latents than pairs of points: twins would have the same gradient ever after."""
    made = Archetypal(latents, 4, points, "rows", 0.0, True)
    made.start(torch.randn(points, 4, generator=torch.Generator().manual_seed(0)), seed, None)
    assert len(torch.unique(made.weights.detach(), dim=0)) == latents
    torch.testing.assert_close(made.weights.sum(1), torch.ones(latents))


def test_points_are_the_same_for_every_seed_and_rows_are_not(make: Any) -> None:
    one, two = (make(TopKConfig(k=3), seed=seed, decoder=ArchetypalConfig(points=10)) for seed in (0, 1))
    assert torch.equal(one.dictionary.points, two.dictionary.points)
    assert not torch.equal(one.dictionary.weights, two.dictionary.weights)


def test_points_are_taken_over_from_an_autoencoder_with_the_same_decoder(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omnisae.autoencoders import archetypal as module

    first = make(TopKConfig(k=3), decoder=ArchetypalConfig(points=10))
    sample, asked = planted(8, 16, 3, 512, 1)[0], []
    monkeypatch.setattr(module, "points_of", lambda rows, *_: asked.append(1) or rows[:10])
    Autoencoder(first.config, 8, 1).initialise(sample, first)
    assert not asked
    other = first.config.model_copy(update={"decoder": ArchetypalConfig(points=10, choose="rows")})
    Autoencoder(other, 8, 1).initialise(sample, first)
    assert asked


def test_without_room_beside_them_rows_are_mixtures(make: Any) -> None:
    autoencoder = make(TopKConfig(k=3), decoder=ArchetypalConfig(points=10, delta=0), unit_norm=False)
    assert "dictionary.relaxation" not in dict(autoencoder.named_parameters())
    assert "dictionary.relaxation" not in autoencoder.divided
    part = autoencoder.dictionary
    torch.testing.assert_close(autoencoder.decoder_rows(), part.weights @ part.points * part.multiplier.exp())


def test_no_dense_matrix_of_tokens_and_latents_or_points(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    monkeypatch.setitem(preactivations.CHUNK_ELEMENTS, "cpu", 1)
    autoencoder = make(TopKConfig(k=3), latents=400, decoder=ArchetypalConfig(points=30))
    x = planted(8, 16, 3, 256, 3)[0]
    shapes: list[tuple[int, ...]] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            shapes.extend(tuple(t.shape) for t in tree_leaves(out) if isinstance(t, Tensor))
            return out

    with Watch():
        autoencoder(x).loss.backward()
    assert (400, 30) in shapes
    assert not {(256, 400), (400, 256), (256, 30), (30, 256)} & set(shapes)


@UNIT
@pytest.mark.parametrize("processes", [2, 5])
def test_a_step_of_parts_is_that_of_the_whole(unit: bool, processes: int, archetypal: Any) -> None:
    whole = archetypal(
        TopKConfig(k=3), unit, penalties=(L1Config(weight=0.3),), auxk=AuxKConfig(k=2, weight=0.7, dead_after=100)
    )
    whole.silence.tokens[[2, 3, 20]] = 100
    whole.silence.candidates.copy_(whole.dead())
    whole.silence.forget()

    def learnt(part: Autoencoder, world: Group) -> dict[str, Tensor]:
        step = part(X)
        step.loss.backward()
        for name, parameter in part.named_parameters():
            (part.shard.over_tokens if name in part.divided else world).average(parameter.grad)
            with torch.no_grad():
                parameter -= 0.1 * parameter.grad
        part.after_step(step.fired, len(X))
        return dict(part.state_dict()) | {f"{n}.grad": p.grad for n, p in part.named_parameters()}

    def one(shard: Shard, world: Group) -> dict[str, Tensor]:
        part = Autoencoder(whole.config, whole.width, whole.seed, shard).double()
        part.load_state_dict({n: t[part.held] if n in part.divided else t for n, t in whole.state_dict().items()})
        return learnt(part, world)

    parts, wanted = together(1, processes, one), learnt(whole, Group())
    assert {"decoder", "dictionary.weights", "dictionary.relaxation"} <= whole.divided
    for name, tensor in wanted.items():
        rows = [part[name] for part in parts]
        found = torch.cat(rows) if name.removesuffix(".grad") in whole.divided else rows[0]
        torch.testing.assert_close(found, tensor, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@UNIT
def test_parts_start_from_the_whole(unit: bool, archetypal: Any) -> None:
    config, sample = archetypal(TopKConfig(k=3), unit).config, planted(8, 16, 3, 512, 1)[0].double()

    def start(shard: Shard, world: Group) -> Autoencoder:
        autoencoder = Autoencoder(config, 8, 0, shard).double()
        autoencoder.initialise(sample)
        return autoencoder

    whole, parts = start(Shard(), Group()), together(1, 3, start)
    for name, tensor in whole.state_dict().items():
        rows = [part.state_dict()[name] for part in parts]
        found = torch.cat(rows) if name in whole.divided else rows[0]
        torch.testing.assert_close(found, tensor, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_a_dictionary_that_must_see_all_latents_is_refused(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    config = make(TopKConfig(k=3), decoder=ArchetypalConfig(points=10)).config
    monkeypatch.setattr(Archetypal, "divisible", False)
    with pytest.raises(ConfigError, match=r"latent_shards 2: the autoencoder's dictionary \(Archetypal\) must see all"):
        Autoencoder(config, 8, 0, Shard(Group(2, 0)))


def test_a_sample_smaller_than_the_points_is_told(make: Any) -> None:
    told = r"decoder\.points: 1024 points cannot be taken from a sample of 512 tokens\n.*lower points to 512 or less"
    with pytest.raises(ConfigError, match=told):
        make(TopKConfig(k=3), decoder=ArchetypalConfig())
