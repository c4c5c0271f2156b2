"""Terms of the loss beside the reconstruction."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Pass:
    """What one training pass shows to penalties.

    `codes` are dense (token × latent) where `latents` is None, else the values of entries that belong to `latents`.
    `scale` is the root mean squared norm of centred, normalised inputs; `seen` how many tokens were trained on before.
    """

    codes: Float[Tensor, "..."]
    latents: Int[Tensor, " entry"] | None
    tokens: int
    decoder: Float[Tensor, "latent width"]
    encoder: Float[Tensor, "latent width"]
    scale: Float[Tensor, ""]
    seen: Int[Tensor, ""]

    def weighted_sum(self, weights: Float[Tensor, " latent"]) -> Float[Tensor, ""]:
        """The sum over tokens and latents of code · weight[latent]."""
        if self.latents is None:
            return (self.codes @ weights).sum()
        return (self.codes * weights[self.latents]).sum()


class Penalty(nn.Module, ABC):
    """A term of the loss. `name` is its name among the logged terms."""

    name: str

    @abstractmethod
    def forward(self, passed: Pass) -> Float[Tensor, ""]:
        """The weighted term, a mean over tokens."""


class L1(Penalty):
    """weight · mean over tokens of Σᵢ zᵢ ‖dᵢ‖ / s, with s the root mean squared norm of centred, normalised inputs.

    Weighing by the decoder's norm keeps the term unchanged when a latent trades code for decoder (Conerly et al.
    2024, "Update on how we train SAEs", Anthropic). Over the first `warmup` tokens the weight rises from zero.
    """

    name = "l1"

    def __init__(self, weight: float, warmup: int) -> None:
        super().__init__()
        self.weight, self.warmup = weight, warmup

    def forward(self, passed: Pass) -> Float[Tensor, ""]:
        norms = passed.decoder.norm(dim=1)
        rise = (passed.seen / self.warmup).clamp(max=1.0) if self.warmup else torch.ones_like(passed.scale)
        return self.weight * rise.to(passed.scale) * passed.weighted_sum(norms) / (passed.tokens * passed.scale)
