"""Normalisers: activations brought to a common scale before encoding, and back after decoding."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Normaliser(nn.Module, ABC):
    """A reversible map of raw activations. Fitted once on a training sample; what is fitted lies in buffers."""

    def fit(self, sample: Float[Tensor, "token width"]) -> None:
        """Fit to a sample of raw activations. Default: nothing to fit."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "token width"]) -> tuple[Float[Tensor, "token width"], Tensor | None]:
        """Normalised activations, and per token what `undo` needs (None where it needs nothing)."""

    @abstractmethod
    def undo(self, x: Float[Tensor, "token width"], context: Tensor | None) -> Float[Tensor, "token width"]:
        """Raw activations from normalised ones."""


class Identity(Normaliser):
    """Activations as they are."""

    def forward(self, x: Float[Tensor, "token width"]) -> tuple[Float[Tensor, "token width"], Tensor | None]:
        return x, None

    def undo(self, x: Float[Tensor, "token width"], context: Tensor | None) -> Float[Tensor, "token width"]:
        return x


class Standard(Normaliser):
    """x' = (x − mean) · scale: one mean vector and one number, so that the mean squared norm is the width.

    One scale for all dimensions keeps the geometry: what is far apart in the model stays far apart.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def fit(self, sample: Float[Tensor, "token width"]) -> None:
        wide = sample.double()
        mean = wide.mean(0)
        squared = (wide - mean).square().sum(1).mean()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(squared > 0, (sample.shape[1] / squared.clamp(min=1e-300)).sqrt(), 1.0))

    def forward(self, x: Float[Tensor, "token width"]) -> tuple[Float[Tensor, "token width"], Tensor | None]:
        return (x - self.mean) * self.scale, None

    def undo(self, x: Float[Tensor, "token width"], context: Tensor | None) -> Float[Tensor, "token width"]:
        return x / self.scale + self.mean


class LayerNorm(Normaliser):
    """x' = (x − μ) / σ, with each token's own mean μ and standard deviation σ over its width, which `undo` needs
    back.
    """

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, x: Float[Tensor, "token width"]) -> tuple[Float[Tensor, "token width"], Tensor | None]:
        mean = x.mean(1, keepdim=True)
        deviation = (x - mean).square().mean(1, keepdim=True).sqrt().clamp(min=self.floor)
        return (x - mean) / deviation, torch.cat([mean, deviation], dim=1)

    def undo(self, x: Float[Tensor, "token width"], context: Tensor | None) -> Float[Tensor, "token width"]:
        if context is None:
            raise ValueError(
                "codes of a layer-normalised autoencoder carry each token's mean and deviation; these do not"
            )
        return x * context[:, 1:] + context[:, :1]
