"""Autoencoders small enough to be checked by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import NoneConfig
from omnisae.config import AutoencoderConfig, AuxKConfig
from omnisae.plugins.kinds import ActivationConfig
from omnisae.testing.planted import planted

Make = Callable[..., Autoencoder]


@pytest.fixture
def make() -> Make:
    """Builds an autoencoder, started on planted activations; AuxK off unless given."""

    def build(
        activation: ActivationConfig, *, latents: int = 24, width: int = 8, seed: int = 0, **parts: Any
    ) -> Autoencoder:
        fields: dict[str, Any] = {"normaliser": NoneConfig(), "auxk": AuxKConfig(k=0), **parts}
        config = AutoencoderConfig(latents=latents, activation=activation, **fields)
        autoencoder = Autoencoder(config, width, seed)
        autoencoder.initialise(planted(width, 2 * width, 3, 512, 1)[0])
        return autoencoder

    return build


@pytest.fixture
def loose() -> Callable[[Autoencoder], Autoencoder]:
    """Moves every parameter off its special starting value, in double precision."""

    def move(autoencoder: Autoencoder) -> Autoencoder:
        autoencoder.double()
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for name, parameter in autoencoder.named_parameters():
                if not name.startswith("activation"):
                    noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.add_(0.1 * noise)
        return autoencoder

    return move


def fit(autoencoder: Autoencoder, x: torch.Tensor, *, steps: int, batch: int = 512, lr: float = 1e-2) -> Autoencoder:
    """The smallest training loop, through the public contract alone: warm-up, constant rate, decay."""
    generator = torch.Generator().manual_seed(autoencoder.seed)
    optimiser = torch.optim.Adam(autoencoder.parameters(), lr=lr)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * min(1.0, (step + 1) / 20, max(0.02, (1 - step / steps) / 0.3))
        out = autoencoder(x[torch.randint(len(x), (batch,), generator=generator)])
        optimiser.zero_grad()
        out.loss.backward()
        autoencoder.before_step()
        optimiser.step()
        autoencoder.after_step(out.fired, batch)
    return autoencoder.eval()


@pytest.fixture
def train() -> Callable[..., Autoencoder]:
    """The loop above."""
    return fit
