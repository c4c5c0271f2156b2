"""Several processes that each hold some of the latents compute what one that holds them all computes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from omnisae.autoencoders import merge
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.codes import Codes
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
from omnisae.autoencoders.group import Group
from omnisae.autoencoders.initialise import unit_directions
from omnisae.autoencoders.picked import Picked, ends
from omnisae.autoencoders.shard import WHOLE, Shard
from omnisae.config import AutoencoderConfig, AuxKConfig
from omnisae.errors import ArtifactError, ConfigError
from omnisae.testing.planted import planted
from omnisae.testing.processes import together

X = planted(8, 16, 3, 40, 3)[0].double()
SAMPLE = planted(8, 16, 3, 512, 1)[0]
RULES = [
    TopKConfig(k=3),
    TopKConfig(k=24),
    BatchTopKConfig(k=3),
    AbsTopKConfig(k=3),
    ReLUConfig(),
    JumpReLUConfig(l0=3, bandwidth=0.5),
    JumpReLUConfig(l0=0.3, bandwidth=0.01),
]
NESTED = MatryoshkaConfig(prefixes=(1, 12, 17, 24), weights=(1, 2, 3, 4))


def part_of(whole: Autoencoder, shard: Shard) -> Autoencoder:
    """This process's part of an autoencoder, in its very state."""
    part = Autoencoder(whole.config, whole.width, whole.seed, shard).double()
    state = whole.state_dict()
    part.load_state_dict({n: t[part.held] if n in part.divided else t for n, t in state.items()})
    return part


def learnt(part: Autoencoder, x: Tensor, world: Group) -> dict[str, Any]:
    """What a step gives, and gradients averaged as training averages them."""
    step = part(x)
    step.loss.backward()
    for name, parameter in part.named_parameters():
        (part.shard.over_tokens if name in part.divided else world).average(parameter.grad)
    part.after_step(part.shard.over_tokens.summed(step.fired), len(x) * part.shard.over_tokens.size)
    figures = {"loss": step.loss.detach(), "l0": step.l0, "sse": step.sse, **step.terms}
    gradients = {name: parameter.grad for name, parameter in part.named_parameters()}
    return {"figures": figures, "state": part.state_dict(), "gradients": gradients}


def whole_again(parts: list[Tensor], name: str, divided: frozenset[str]) -> Tensor:
    if name in divided:
        return torch.cat(parts)
    for other in parts[1:]:
        assert torch.equal(parts[0], other), f"{name} is not the same on all processes"
    return parts[0]


def compare(whole: Autoencoder, parts: list[dict[str, Any]]) -> None:
    """Of processes that see the same tokens."""
    mine = learnt(whole, X, Group())
    for name, figure in mine["figures"].items():
        for part in parts:
            torch.testing.assert_close(part["figures"][name], figure, rtol=1e-10, atol=1e-12, msg=name)
    for kind in ("gradients", "state"):
        for name, tensor in mine[kind].items():
            found = whole_again([part[kind][name] for part in parts], name, whole.divided)
            torch.testing.assert_close(found, tensor, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.type}-{getattr(rule, 'k', getattr(rule, 'l0', ''))}")
@pytest.mark.parametrize("nesting", [None, NESTED], ids=["plain", "nested"])
@pytest.mark.parametrize("processes", [2, 5])
def test_a_step_is_that_of_the_whole(rule: Any, nesting: Any, processes: int, make: Any, loose: Any) -> None:
    whole = loose(make(rule, nesting=nesting, penalties=(L1Config(weight=0.3),)))
    compare(whole, together(1, processes, lambda shard, world: learnt(part_of(whole, shard), X, world)))


@pytest.mark.parametrize("rule", [TopKConfig(k=3), AbsTopKConfig(k=3), BatchTopKConfig(k=3)], ids=lambda r: r.type)
@pytest.mark.parametrize("processes", [2, 5])
def test_nests_over_k_are_those_of_the_whole(rule: Any, processes: int, make: Any, loose: Any) -> None:
    """Ranks are among the entries of all processes."""
    whole = loose(make(rule, nesting=MatryoshkaKConfig(ks=(1, 2, 3), weights="reverse")))
    compare(whole, together(1, processes, lambda shard, world: learnt(part_of(whole, shard), X, world)))


@pytest.mark.parametrize("rule", [TopKConfig(k=3), AbsTopKConfig(k=3), BatchTopKConfig(k=3)], ids=lambda r: r.type)
@pytest.mark.parametrize("dead", [[2, 3, 5, 7, 11, 13], [20, 21], [0]], ids=["some", "on-one", "single"])
@pytest.mark.parametrize("k", [1, 4])
def test_auxk_is_that_of_the_whole(rule: Any, dead: list[int], k: int, make: Any, loose: Any) -> None:
    """Also where a process holds no dead latent."""
    whole = loose(make(rule, auxk=AuxKConfig(k=k, weight=0.7, dead_after=100)))
    whole.silence.tokens[dead] = 100
    whole.silence.candidates.copy_(whole.dead())
    whole.silence.tokens[dead[0]] = 100 if len(dead) < 3 else 0  # has fired since the last look
    compare(whole, together(1, 3, lambda shard, world: learnt(part_of(whole, shard), X, world)))


def test_what_revived_since_the_last_look_leaves_no_auxk(make: Any, loose: Any) -> None:
    whole = loose(make(TopKConfig(k=3), auxk=AuxKConfig(k=4, weight=0.7, dead_after=100)))
    whole.silence.candidates[[3, 20]] = True
    parts = together(1, 2, lambda shard, world: learnt(part_of(whole, shard), X, world))
    assert all(part["figures"]["auxk"] == 0 for part in parts)
    compare(whole, parts)


def best(sizes: Tensor, k: int) -> Tensor:
    """The k largest positive of each row, of equals the first, as a mask: written out."""
    order = sizes.sort(dim=1, descending=True, stable=True).indices[:, :k]
    return torch.zeros_like(sizes, dtype=torch.bool).scatter(1, order, True) & (sizes > 0)


def entries(matrix: Tensor, kept: Tensor) -> Picked:
    return Picked(ends(kept.sum(1)), kept.nonzero()[:, 1], matrix[kept])


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("k", [1, 4, 9])
def test_of_equals_the_lowest_latents_are_kept(processes: int, signed: bool, k: int) -> None:
    """Small integers: nearly every threshold is tied, within a process and across."""
    matrix = torch.randint(-3, 4, (30, 13), generator=torch.Generator().manual_seed(k)).double()
    sizes = matrix.abs() if signed else matrix

    def work(shard: Shard, world: Group) -> Tensor:
        held = shard.held(13)
        mine = entries(matrix[:, held], best(sizes[:, held], k))
        kept = merge.top(mine, k, signed, shard.over_latents)
        return Codes(kept.offsets, kept.latents, kept.values, held.stop - held.start).dense()

    assert torch.equal(torch.cat(together(1, processes, work), 1), matrix * best(sizes, k))


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("count", [1, 40, 150, 390])
def test_of_equals_the_first_of_the_batch_are_kept(processes: int, count: int) -> None:
    matrix = torch.randint(-3, 4, (30, 13), generator=torch.Generator().manual_seed(count)).double()

    def work(shard: Shard, world: Group) -> Tensor:
        held = shard.held(13)
        kept = merge.largest(entries(matrix[:, held], matrix[:, held] > 0), count, shard.over_latents)
        return Codes(kept.offsets, kept.latents, kept.values, held.stop - held.start).dense()

    expected = matrix * best(matrix.reshape(1, -1), count).reshape(30, 13)
    assert torch.equal(torch.cat(together(1, processes, work), 1), expected)


@pytest.mark.parametrize(
    "rule", [TopKConfig(k=3), ReLUConfig(), JumpReLUConfig(l0=3, bandwidth=0.5)], ids=lambda r: r.type
)
def test_shares_of_tokens_and_of_latents_at_once(rule: Any, make: Any, loose: Any) -> None:
    whole = loose(make(rule, nesting=NESTED, auxk=AuxKConfig(k=2, weight=0.7, dead_after=100)))
    whole.silence.tokens[[1, 2, 20]] = 100
    whole.silence.candidates.copy_(whole.dead())

    def work(shard: Shard, world: Group) -> dict[str, Any]:
        share = len(X) // shard.over_tokens.size
        mine = X[shard.over_tokens.rank * share :][:share]
        return learnt(part_of(whole, shard), mine, world)

    parts = together(2, 2, work)
    mine = learnt(whole, X, Group())
    for kind in ("gradients", "state"):
        for name, tensor in mine[kind].items():
            for row in (parts[:2], parts[2:]):
                found = whole_again([part[kind][name] for part in row], name, whole.divided)
                torch.testing.assert_close(found, tensor, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    loss = torch.stack([part["figures"]["loss"] for part in parts]).mean()
    torch.testing.assert_close(loss, mine["figures"]["loss"], rtol=1e-10, atol=0)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.type}-{getattr(rule, 'k', getattr(rule, 'l0', ''))}")
def test_all_start_from_the_whole(rule: Any) -> None:
    """Directions, encoder and thresholds, although no process draws or holds more than its own."""
    config = AutoencoderConfig(latents=24, activation=rule)

    def start(shard: Shard) -> Autoencoder:
        autoencoder = Autoencoder(config, 8, 0, shard).double()
        autoencoder.initialise(SAMPLE.double())
        return autoencoder

    whole, parts = start(WHOLE), together(1, 3, lambda shard, world: start(shard))
    for name, tensor in whole.state_dict().items():
        found = whole_again([part.state_dict()[name] for part in parts], name, whole.divided)
        torch.testing.assert_close(found, tensor, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    assert [len(part.encoder) for part in parts] == [8, 8, 8]


@pytest.mark.parametrize("held", [slice(0, 2500), slice(0, 1), slice(1000, 2100), slice(2047, 2500)])
def test_a_process_draws_the_directions_of_its_latents(held: slice) -> None:
    """The same as one process draws, although none keeps the others'."""
    assert torch.equal(unit_directions(2500, 6, 3, held), unit_directions(2500, 6, 3)[held])


def test_a_part_makes_no_codes() -> None:
    part = Autoencoder(AutoencoderConfig(latents=24, activation=TopKConfig(k=3)), 8, 0, Shard(Group(3, 1)))
    with pytest.raises(ArtifactError, match="part of an autoencoder, latents 8 up to 16 of 24"):
        part.encode(SAMPLE)


def test_latents_are_divided_evenly_and_in_order() -> None:
    rows = [Shard(Group(5, rank)).held(24) for rank in range(5)]
    assert [(part.start, part.stop) for part in rows] == [(0, 4), (4, 9), (9, 14), (14, 19), (19, 24)]


def test_fewer_latents_than_processes_are_refused() -> None:
    config = AutoencoderConfig(latents=4, activation=TopKConfig(k=3))
    with pytest.raises(
        ConfigError, match=r"latents 4 cannot be divided among 5 processes\n.*latent_shards to 4 or less"
    ):
        Autoencoder(config, 8, 0, Shard(Group(5, 0)))


def test_a_rule_that_must_see_all_latents_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from omnisae.autoencoders.topk import TopK

    monkeypatch.setattr(TopK, "divisible", False)
    config = AutoencoderConfig(latents=24, activation=TopKConfig(k=3))
    with pytest.raises(ConfigError, match=r"latent_shards 2: the autoencoder's activation \(TopK\) must see all"):
        Autoencoder(config, 8, 0, Shard(Group(2, 0)))
