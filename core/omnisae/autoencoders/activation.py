"""Activation rules: which latents of a token fire, in training and at inference."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.sparse import Picked, Preactivations


class Activation(nn.Module, ABC):
    """Turns pre-activations into codes. What training learns about the rule (thresholds) lies in parameters and
    buffers.

    Subclass this for a rule that looks at dense pre-activations in training, `SparseActivation` for one that picks a
    known number of entries.
    """

    revives: ClassVar[bool] = False
    """Whether AuxK is on where the config does not say."""

    @abstractmethod
    def forward(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        """The codes in training, with a gradient."""

    @abstractmethod
    def infer(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        """The codes at inference; each row depends on itself alone."""

    @abstractmethod
    def rule(self) -> str:
        """The inference rule in words, for artifacts and reports."""

    def codes(self, pre: Float[Tensor, "token latent"]) -> Codes:
        """The sparse codes at inference."""
        return Codes.from_dense(self.infer(pre))

    def losses(self, pre: Float[Tensor, "token latent"]) -> dict[str, Float[Tensor, ""]]:
        """The rule's own terms of the loss, already weighted. Only of dense rules."""
        return {}

    def initialise(self, pre: Float[Tensor, "token latent"], scale: float) -> None:
        """Fit the rule to the first pre-activations. `scale` is the root mean squared norm of centred inputs."""

    def after_step(self) -> None:
        """Take over what the last training batch taught."""


class SparseActivation(Activation):
    """A rule that picks entries chunk by chunk, so that the training step stays sparse."""

    @abstractmethod
    def pick(self, pre: Preactivations) -> Picked:
        """The entries kept in training (no gradient)."""

    def values(self, pre: Float[Tensor, " entry"]) -> Float[Tensor, " entry"]:
        """The codes of picked pre-activations, with a gradient. Default: their positive part."""
        return torch.relu(pre)
