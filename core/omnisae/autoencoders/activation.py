"""Activation rules: which latents of a token fire, in training and at inference."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.preactivations import Preactivations
from omnisae.autoencoders.shard import WHOLE, Shard
from omnisae.autoencoders.sparse import Entries


class Activation(nn.Module, ABC):
    """Turns pre-activations into codes. What training learns about the rule (thresholds) lies in parameters and
    buffers.

    Subclass this for a rule that looks at dense pre-activations in training, `SparseActivation` for one that picks
    entries.
    """

    revives: ClassVar[bool] = False
    """Whether AuxK is on where the config does not say."""
    signed: ClassVar[bool] = False
    """Whether codes may be negative."""
    divisible: ClassVar[bool] = False
    """Whether the rule can be learnt by several processes that each hold some latents: it looks at each latent alone,
    or at others only by asking `Preactivations`; sums over latents it makes whole by `shard`."""
    by_latent: ClassVar[tuple[str, ...]] = ()
    """The parameters and buffers that have one row a latent. Where latents are divided, each process holds its own."""
    shard: Shard = WHOLE
    """The processes that hold the other latents, or share the batch."""

    @property
    def keeps(self) -> int | None:
        """k, where it is a sparse rule that always picks the k largest pre-activations of a token, or k a token on
        average. None: it keeps no fixed number of them."""
        return None

    @abstractmethod
    def forward(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        """The codes in training, with a gradient."""

    @abstractmethod
    def infer(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        """The codes at inference; each row depends on itself alone."""

    @abstractmethod
    def rule(self) -> str:
        """The inference rule in words, for artifacts and reports."""

    def find(self, pre: Preactivations) -> Picked:
        """The codes at inference, a few rows at a time; a subclass may ask `pre` for less than everything."""
        parts = [Codes.from_dense(self.infer(chunk)) for _, chunk in pre]
        if not parts:
            parts = [Codes.from_dense(self.infer(pre.bias.new_zeros(0, pre.latents)))]
        return Picked.joined([Picked(part.offsets, part.latents, part.values) for part in parts])

    def codes(self, pre: Float[Tensor, "token latent"]) -> Codes:
        """The sparse codes at inference of dense pre-activations."""
        return Codes.from_dense(self.infer(pre))

    def losses(self, pre: Float[Tensor, "token latent"]) -> dict[str, Float[Tensor, ""]]:
        """The rule's own terms of the loss, already weighted, from dense pre-activations."""
        return {}

    def initialise(self, pre: Preactivations, scale: float) -> None:
        """Fit the rule to the first pre-activations. `scale` is the root mean squared norm of centred inputs."""

    def after_step(self) -> None:
        """Take over what the last training batch taught."""


class SparseActivation(Activation):
    """A rule that picks entries, so that the training step stays sparse."""

    @abstractmethod
    def pick(self, pre: Preactivations) -> Picked | None:
        """The entries kept in training (no gradient). None where they are so many that the dense step is quicker."""

    def values(self, pre: Float[Tensor, " entry"], entries: Entries) -> Float[Tensor, " entry"]:
        """The codes of picked pre-activations, with a gradient. Default: their positive part, or all where signed."""
        return pre if self.signed else torch.relu(pre)

    def entry_losses(self, pre: Float[Tensor, " entry"], entries: Entries) -> dict[str, Float[Tensor, ""]]:
        """The rule's own terms of the loss, already weighted, from picked pre-activations."""
        return {}
