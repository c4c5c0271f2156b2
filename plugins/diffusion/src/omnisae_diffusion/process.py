"""Processes: denoisers at work. A pipeline of diffusers, or a bare denoiser with a scheduler."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from omnisae_diffusion.asks import Ask
from omnisae_diffusion.components import Components
from omnisae_diffusion.plan import Plan

Pictures = UInt8[np.ndarray, "picture y x 3"]
Frames = Callable[[Pictures], None]
"""Told the pictures as they stand after every step."""


@dataclass(frozen=True)
class Noising:
    """Pictures that take the place of the model's own at every step: `clean` are latents in the denoiser's scale,
    `noise` is what is added to them; at `times` other than these (None: all) the denoiser is not run."""

    clean: Float[Tensor, "picture ..."]
    noise: Float[Tensor, "picture ..."]
    times: tuple[float, ...] | None = None


class Process(ABC):
    """A denoiser that makes pictures step by step. `components` are its networks, `denoiser` the path of the one that
    is run at every step, `time` its argument that tells the scheduler's time."""

    components: Components
    denoiser: str
    time: str
    picture: str
    steps: int
    guidance: float
    size: tuple[int, int]
    """Height and width of its pictures in pixels."""
    labelled: bool
    """Whether it is told class labels."""
    tells_error: ClassVar[bool] = False
    """Whether it can say how well noise is found (`noise_error`)."""

    @property
    def model(self) -> nn.Module:
        """The denoiser."""
        found: nn.Module = getattr(self.components, self.denoiser)
        return found

    def any_ask(self) -> Ask:
        """Something that it can be asked for, by which shapes and times are found."""
        return Ask(label=0 if self.labelled else None)

    @abstractmethod
    def plan(self) -> Plan:
        """At which times the denoiser is called. Raises HookError where the scheduler goes back and forth."""

    @abstractmethod
    def generate(
        self,
        asks: Sequence[Ask],
        *,
        frames: Frames | None = None,
        steps: int | None = None,
        noise: Float[Tensor, "picture ..."] | None = None,
    ) -> Pictures:
        """Pictures under whatever edits are in force, each from `noise` or from that of its own seed: the same whatever
        else is in the batch, up to rounding. `steps` other than the process' own are for a look at shapes."""

    def look(self, asks: Sequence[Ask]) -> None:
        """A generation by which shapes are found: the denoiser is run once."""
        self.generate(asks, steps=1)

    @property
    @abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of the noise that one picture starts from."""

    @abstractmethod
    def latents(self, pictures: Float[Tensor, "picture 3 y x"]) -> Float[Tensor, "picture ..."]:
        """Pictures (−1 to 1) as the denoiser sees them, without noise."""

    @abstractmethod
    def denoise(self, asks: Sequence[Ask], noising: Noising) -> None:
        """Run the denoiser on given pictures at every time of the plan, in place of its own."""

    @abstractmethod
    def grid(self) -> tuple[int, int]:
        """Height and width of what the denoiser sees."""

    def noise_error(self, asks: Sequence[Ask], noising: Noising) -> Float[Tensor, " picture"] | None:
        """The mean squared error of what the denoiser finds in given pictures (the noise; where its scheduler asks for
        them, the velocity or the clean picture), over the plan's times (of `noising.times` where given). None where
        that is not known. Default: None, as a pipeline keeps what it asks of its denoiser to itself."""
        return None

    def describe(self) -> dict[str, Any]:
        """Facts that count for the fingerprint: how pictures are made."""
        return {"steps": self.steps, "guidance": self.guidance, "size": list(self.size)}

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return next(self.components.parameters()).device


def noise_of(asks: Sequence[Ask], shape: Sequence[int]) -> Float[Tensor, "picture ..."]:
    """Each picture's own noise, by its seed, on the CPU in fp32: the same on every device."""
    return torch.stack([torch.randn(tuple(shape), generator=torch.Generator().manual_seed(ask.seed)) for ask in asks])


def shown(x: Float[Tensor, "picture c y x"]) -> Pictures:
    """Values from −1 to 1 as pictures in colour; grey ones in three equal channels."""
    grey = x.clamp(-1, 1).float().cpu()
    colour = grey if grey.shape[1] == 3 else grey[:, :1].expand(-1, 3, -1, -1)
    return ((colour + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@contextmanager
def replaced_forward(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Within the block a module's own computation is another; hooks on it go on firing."""
    held = module.__dict__.get("forward")
    forward.__signature__ = inspect.signature(module.forward)  # type: ignore[attr-defined]
    module.forward = forward
    try:
        yield
    finally:
        if held is None:
            del module.forward
        else:
            module.forward = held


@contextmanager
def replaced_call(module: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Within the block, to call a module is to call this, before any hook on it. `module._call_impl` runs the module
    with its hooks."""
    module._compiled_call_impl = call  # what torch calls in a module's place
    try:
        yield
    finally:
        del module._compiled_call_impl
