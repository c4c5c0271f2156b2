"""The processes that train together, arranged: so many share out each batch, so many each autoencoder's latents."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.group import ALONE, Group
from omnisae.autoencoders.shard import WHOLE, Shard


@dataclass(frozen=True)
class Mesh:
    """Where this process stands, and its device. `world` are all processes that train together."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    world: Group = ALONE
    shard: Shard = WHOLE

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.world.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world.size > 1:
            float(self.world.summed(torch.zeros((), device=self.device)))

    def level(self, autoencoder: Autoencoder) -> None:
        """Have all processes start from the very same numbers: different processors may round differently."""
        for name, tensor in autoencoder.state_dict().items():
            if tensor.is_floating_point():
                self._holders(autoencoder, name).follow(tensor)

    @torch.no_grad()
    def average(self, autoencoder: Autoencoder) -> None:
        """Average gradients, one tensor after the other: of what is divided by latents over the processes that hold the
        same latents, of all else over all. A parameter that no loss has reached has gradient zero.
        """
        if self.world.size == 1:
            return
        for name, parameter in autoencoder.named_parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.contiguous()
            self._holders(autoencoder, name).average(parameter.grad)

    @torch.no_grad()
    def clip(self, autoencoder: Autoencoder, most: float) -> None:
        """Scale the gradients so that their norm, over all latents and parameters, is at most `most`."""
        shared, divided = (list(_gradients(autoencoder, of)) for of in (False, True))  # the biases, and the rest
        square = _squares(shared) + self.shard.over_latents.summed(_squares(divided))
        factor = (most / (square.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in (*shared, *divided):
            gradient *= factor

    def _holders(self, autoencoder: Autoencoder, name: str) -> Group:
        """The processes that hold the same tensor of this name."""
        return self.shard.over_tokens if name in autoencoder.divided else self.world


def _gradients(autoencoder: Autoencoder, divided: bool) -> Iterator[Tensor]:
    for name, parameter in autoencoder.named_parameters():
        if parameter.grad is not None and (name in autoencoder.divided) == divided:
            yield parameter.grad


def _squares(gradients: list[Tensor]) -> Tensor:
    return torch.stack([gradient.norm() for gradient in gradients]).square().sum()
