"""Dead-latent care: counting, looking, reviving."""

from typing import Any

import torch

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.auxk import REFRESH, Silence
from omnisae.autoencoders.configs import StandardConfig, TopKConfig
from omnisae.config import AutoencoderConfig, AuxKConfig
from omnisae.testing.planted import planted


def test_a_latent_is_dead_after_so_many_silent_tokens() -> None:
    silence = Silence(3, dead_after=20)
    silence.after_step(torch.tensor([1, 0, 0]), 10)
    silence.after_step(torch.tensor([0, 2, 0]), 10)
    assert silence.tokens.tolist() == [10, 0, 20]
    assert silence.dead().tolist() == [False, False, True]
    assert silence.listed().tolist() == []
    for _ in range(REFRESH - 2):
        silence.after_step(torch.tensor([1, 1, 0]), 10)
    assert silence.listed().tolist() == [2]


def test_counting_goes_on_from_a_saved_state() -> None:
    """The looks come at the same steps as in a training that was never interrupted."""
    fired = [torch.tensor([1, step % 5 == 0, 0]).long() for step in range(40)]
    whole, first = Silence(3, 30), Silence(3, 30)
    for step in range(13):
        whole.after_step(fired[step], 10)
        first.after_step(fired[step], 10)
    second = Silence(3, 30)
    second.load_state_dict(first.state_dict())
    for step in range(13, 40):
        whole.after_step(fired[step], 10)
        second.after_step(fired[step], 10)
        assert torch.equal(whole.listed(), second.listed())
        assert all(torch.equal(a, b) for a, b in zip(whole.buffers(), second.buffers(), strict=True))


def test_dead_latents_revive_and_lower_the_error(train: Any) -> None:
    """Half the latents start too quiet ever to be chosen. AuxK brings them back, and they serve."""
    x, _ = planted(16, 24, 3, 4096, 0)
    alive, explained = [], []
    for weight in (0.0, 1 / 32):
        auxk = AuxKConfig(k=8, weight=weight, dead_after=2000)
        config = AutoencoderConfig(latents=24, activation=TopKConfig(k=3), normaliser=StandardConfig(), auxk=auxk)
        autoencoder = Autoencoder(config, 16, 0)
        autoencoder.initialise(x)
        with torch.no_grad():
            autoencoder.encoder[12:] *= 0.01
            autoencoder.encoder_bias[:12] = 1.0
        train(autoencoder, x, steps=150, batch=256, lr=5e-3)
        error = (autoencoder.decode(autoencoder.encode(x)) - x).detach().square().sum()
        explained.append(1 - float(error / (x - x.mean(0)).square().sum()))
        alive.append(int((~autoencoder.dead()).sum()))
    assert alive[0] <= 14
    assert alive[1] >= 22
    assert explained[1] > explained[0] + 0.05
