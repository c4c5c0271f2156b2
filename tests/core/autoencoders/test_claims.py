"""What the papers of two parts claim, on planted data: archetypal rows agree between seeds; one serves every k."""

from typing import Any

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from omnisae.autoencoders.agreement import mean_max_cosine
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import ArchetypalConfig, MatryoshkaKConfig, StandardConfig, TopKConfig
from omnisae.config import AutoencoderConfig, AuxKConfig
from omnisae.testing.planted import planted

KS = (2, 4, 8, 16)


def trained(x: Tensor, k: int, latents: int, train: Any, seed: int = 0, **parts: Any) -> Autoencoder:
    """From a sample of its own, which no other seed shares."""
    auxk = AuxKConfig(k=32, dead_after=10_000)
    config = AutoencoderConfig(
        latents=latents, activation=TopKConfig(k=k), normaliser=StandardConfig(), auxk=auxk, **parts
    )
    autoencoder = Autoencoder(config, x.shape[1], seed)
    autoencoder.initialise(x[4096 * seed :][:4096])
    return train(autoencoder, x, steps=250, batch=512, lr=3e-3)


def explained(autoencoder: Autoencoder, x: Tensor, k: int) -> float:
    error = (autoencoder.decode(autoencoder.encode(x).largest(k)).detach() - x).double().square().sum()
    return float(1 - error / (x - x.mean(0)).double().square().sum())


def agreement(one: Autoencoder, two: Autoencoder, x: Tensor) -> float:
    """Mean cosine of rows of living latents, matched one to one (Fel et al. 2025)."""
    mine, other = (a.decoder_rows()[a.encode(x).latents.unique()] for a in (one, two))
    cosines = torch.nn.functional.normalize(mine, dim=1) @ torch.nn.functional.normalize(other, dim=1).T
    rows, columns = linear_sum_assignment(cosines.numpy(), maximize=True)
    return float(cosines[rows, columns].mean())


@pytest.mark.slow
def test_archetypal_rows_agree_more_between_seeds(train: Any) -> None:
    """32 noisy directions and 256 latents: most latents are free to be anything. What stability costs is told, too."""
    x, truth = planted(64, 32, 2, 20_000, 0)
    x = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
    found = {}
    for name, parts in (
        ("free", {}),
        ("archetypal", {"decoder": ArchetypalConfig(points=256, delta=0), "unit_norm": False}),
    ):
        one, two = (trained(x, 8, 256, train, seed, **parts) for seed in (0, 1))
        cosine = mean_max_cosine(truth, one.decoder_rows())
        found[name] = agreement(one, two, x[:4000]), explained(one, x[:4000], 8), cosine
    assert found["archetypal"][0] > found["free"][0] + 0.05
    assert found["free"][1] > found["archetypal"][1] > found["free"][1] - 0.06
    assert found["archetypal"][2] > found["free"][2]


@pytest.mark.slow
def test_one_autoencoder_serves_every_k(train: Any) -> None:
    """Near the best of those trained at each k, and better on average than one trained at a single k."""
    x, _ = planted(32, 96, 8, 20_000, 0)
    held_out, x = x[:4000], x[4000:]
    apart = {k: trained(x, k, 128, train) for k in KS}
    best = torch.tensor([explained(apart[k], held_out, k) for k in KS])
    largest = torch.tensor([explained(apart[KS[-1]], held_out, k) for k in KS])
    nested = trained(x, KS[-1], 128, train, nesting=MatryoshkaKConfig(ks=KS))
    every = torch.tensor([explained(nested, held_out, k) for k in KS])
    assert (every > best - 0.08).all()
    assert every.mean() > largest.mean() + 0.02
    for k in KS[1:-1]:
        assert every.mean() > sum(explained(apart[k], held_out, min(other, k)) for other in KS) / len(KS)
