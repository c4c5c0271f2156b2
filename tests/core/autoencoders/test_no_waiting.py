"""A training step on a GPU never makes the host wait for it: shown without a GPU, on tensors that have no numbers."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import (
    AbsTopKConfig,
    ArchetypalConfig,
    BatchTopKConfig,
    JumpReLUConfig,
    L1Config,
    MatryoshkaConfig,
    MatryoshkaKConfig,
    StandardConfig,
    TopKConfig,
)
from omnisae.autoencoders.kernels import device
from omnisae.config import AutoencoderConfig, AuxKConfig

RULES = [TopKConfig(k=3), BatchTopKConfig(k=3), AbsTopKConfig(k=3)]
WAITS = {
    "aten._local_scalar_dense",
    "aten.is_nonzero",
    "aten.equal",
    "aten.nonzero",
    "aten.masked_select",
    "aten.bincount",
    "aten._unique2",
    "aten.unique_dim",
    "aten.unique_consecutive",
    "aten.repeat_interleave",
}
"""What reads a number on the device to go on: its result, or the shape of its result, is known to the host."""


class NoWaiting(TorchDispatchMode):
    """Refuses operations that wait for the device, and numbers sent to it from pageable memory."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).rpartition(".")[0]
        assert name not in WAITS, name
        if name in ("aten.index", "aten.index_put", "aten.index_put_"):
            places = [place for place in args[1] if place is not None]
            assert not any(place.dtype in (torch.bool, torch.uint8) for place in places), f"{name} by a mask"
        assert name != "aten.lift_fresh", "a tensor made of numbers"
        out = func(*args, **(kwargs or {}))
        if name in ("aten._to_copy", "aten.copy_"):
            devices = {leaf.device.type for leaf in tree_leaves((out, args)) if isinstance(leaf, Tensor)}
            assert len(devices) == 1, f"{name} from one device to another"
        return out


def built(rule: Any, **parts: Any) -> Autoencoder:
    config = AutoencoderConfig(
        latents=40,
        activation=rule,
        normaliser=StandardConfig(),
        penalties=(L1Config(weight=0.1),),
        auxk=AuxKConfig(k=4, dead_after=100),
        **parts,
    )
    return Autoencoder(config, 16, 0)


def listed(autoencoder: Autoencoder) -> None:
    """As between two looks at which latents are dead: the host knows which they were at the last."""
    silence = autoencoder.silence
    silence._steps, silence._anywhere = 1, True
    silence._candidates = torch.arange(7, device=silence.candidates.device)


def steps(autoencoder: Autoencoder, x: Tensor) -> None:
    """One step in which constants are sent to the device, then two that are watched."""
    optimiser = torch.optim.Adam(autoencoder.parameters(), lr=1e-3, fused=x.device.type != "meta")
    listed(autoencoder)

    def step() -> None:
        out = autoencoder(x)
        optimiser.zero_grad()
        out.loss.backward()
        autoencoder.before_step()
        if x.device.type != "meta":
            optimiser.step()
        autoencoder.after_step(out.fired, len(x))

    step()
    with NoWaiting():
        step()
        step()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Constants of one kind of device are not another's."""
    device.constant.cache_clear()
    yield
    device.constant.cache_clear()


CASES = pytest.mark.parametrize(
    ("rule", "parts"),
    [
        *((rule, {}) for rule in RULES),
        (RULES[0], {"nesting": MatryoshkaConfig(prefixes=(5, 40))}),
        (RULES[2], {"nesting": MatryoshkaKConfig(ks=(1, 2, 3))}),
        (RULES[0], {"decoder": ArchetypalConfig(points=8)}),
        (RULES[1], {"decoder": ArchetypalConfig(points=8), "unit_norm": False}),
    ],
    ids=["topk", "batchtopk", "abstopk", "matryoshka", "over-k", "archetypal", "archetypal-scaled"],
)
PRECISIONS = pytest.mark.parametrize("precision", ["exact", "mixed", "bf16"])


@CASES
def test_by_pytorch_on_real_tensors(rule: Any, parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In double precision, which the CPU's own kernels leave to PyTorch's operations."""
    monkeypatch.setattr(device, "DEVICES", {"cpu"})
    steps(built(rule, **parts).double(), torch.randn(12, 16, dtype=torch.float64))


@CASES
@PRECISIONS
def test_by_triton_on_nothing(precision: Any, rule: Any, parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors that have shapes but no numbers, as if on a GPU: what asks for a number or a mask's count fails."""
    pytest.importorskip("triton")
    from omnisae.autoencoders.kernels.triton import launch

    monkeypatch.setattr(device, "DEVICES", {"meta"})
    monkeypatch.setattr(device, "_ready", lambda _: True)
    monkeypatch.setattr(launch, "_run", lambda *_: None)
    autoencoder = built(rule, **parts).to("meta")
    autoencoder.precision = precision
    steps(autoencoder, torch.empty(12, 16, device="meta"))


def test_what_waits_is_noticed() -> None:
    """JumpReLU asks how many entries it reaches, which its documentation says."""
    x = torch.randn(12, 16, dtype=torch.float64)
    with pytest.raises(AssertionError, match="_local_scalar_dense|nonzero"):
        steps(built(JumpReLUConfig(l0=3)).double(), x)
