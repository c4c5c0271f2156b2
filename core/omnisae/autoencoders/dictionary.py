"""Dictionaries that are made of something: the decoder's rows, where they are not parameters of their own."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from jaxtyping import Float
from torch import Tensor, nn

from omnisae.autoencoders.shard import WHOLE, Shard


class Dictionary(nn.Module, ABC):
    """Makes the decoder's rows out of parameters, which learn through them.

    A training step gives the gradient of the loss by rows, a latent × width matrix; from there on it is autograd's.
    What is learnt lies in parameters and buffers. Once trained, an autoencoder is saved with the rows alone.
    """

    divisible: ClassVar[bool] = False
    """Whether several processes can each make the rows of the latents they hold, from what is theirs and what all have
    in common. What is common enters the rows by `shard.over_latents.common`."""
    by_latent: ClassVar[tuple[str, ...]] = ()
    """The parameters and buffers that have one row a latent. Where latents are divided, each process holds its own."""
    shard: Shard = WHOLE
    """The processes that hold the other latents, or share the batch."""

    @abstractmethod
    def forward(self) -> Float[Tensor, "latent width"]:
        """The rows of the latents held here, with a gradient."""

    @abstractmethod
    def start(self, centred: Float[Tensor, "token width"], seed: int, like: Self | None) -> None:
        """Start from a sample of normalised activations less the decoder's bias.

        `like` is a dictionary of the same config, for the same number of latents or another, that has just started
        from the same sample: what does not depend on the seed may be taken over.
        """

    def after_step(self) -> None:
        """After the optimiser's step: bring the parameters back to what they must satisfy."""
