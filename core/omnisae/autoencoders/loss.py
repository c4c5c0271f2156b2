"""Terms of the loss beside the reconstruction."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnisae.autoencoders.group import ALONE, Group


@dataclass(frozen=True, slots=True)
class Pass:
    """What one training pass shows to penalties.

    `codes` are dense (token × latent) where `latents` is None, else the values of entries that belong to `latents`.
    `scale` is the root mean squared norm of centred, normalised inputs; `seen` how many tokens were trained on before.
    Codes may be negative where they are `signed`.
    Where latents are divided, all this is about those that this process holds; `over_latents` hold the others.
    """

    codes: Float[Tensor, "..."]
    latents: Int[Tensor, " entry"] | None
    tokens: int
    decoder: Float[Tensor, "latent width"]
    encoder: Float[Tensor, "latent width"]
    scale: Float[Tensor, ""]
    seen: Int[Tensor, ""]
    over_latents: Group = ALONE
    signed: bool = False

    def weighted_sum(self, weights: Float[Tensor, " latent"]) -> Float[Tensor, ""]:
        """The sum over tokens and all latents of |code| · weight[latent]."""
        sizes = self.codes.abs() if self.signed else self.codes
        if self.latents is None:
            return self.over_latents.total((sizes @ weights).sum())
        return self.over_latents.total((sizes * weights[self.latents]).sum())


class Penalty(nn.Module, ABC):
    """A term of the loss. `name` is its name among the logged terms."""

    name: str
    divisible: ClassVar[bool] = False
    """Whether several processes that each hold some latents can compute it: it looks at each latent alone, and what it
    sums over latents it makes whole by `Pass.weighted_sum`, or by `over_latents.total`."""
    by_latent: ClassVar[tuple[str, ...]] = ()
    """The parameters and buffers that have one row a latent."""

    @abstractmethod
    def forward(self, passed: Pass) -> Float[Tensor, ""]:
        """The weighted term, a mean over tokens."""


class L1(Penalty):
    """weight · mean over tokens of Σᵢ |zᵢ| ‖dᵢ‖ / s, with s the root mean squared norm of centred, normalised inputs.

    Weighing by the decoder's norm keeps the term unchanged when a latent trades code for decoder (Conerly et al.
    2024, "Update on how we train SAEs", Anthropic). Over the first `warmup` tokens the weight rises from zero.
    """

    name = "l1"
    divisible = True

    def __init__(self, weight: float, warmup: int) -> None:
        super().__init__()
        self.weight, self.warmup = weight, warmup

    def forward(self, passed: Pass) -> Float[Tensor, ""]:
        norms = passed.decoder.norm(dim=1)
        rise = (passed.seen / self.warmup).clamp(max=1.0) if self.warmup else torch.ones_like(passed.scale)
        return self.weight * rise.to(passed.scale) * passed.weighted_sum(norms) / (passed.tokens * passed.scale)
