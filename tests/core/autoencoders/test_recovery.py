"""Directions planted in superposition are found again."""

from typing import Any

import pytest

from omnisae.autoencoders.agreement import mean_max_cosine
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import BatchTopKConfig, JumpReLUConfig, MatryoshkaConfig, StandardConfig, TopKConfig
from omnisae.config import AutoencoderConfig
from omnisae.testing.planted import planted


@pytest.mark.parametrize(
    ("rule", "nesting"),
    [
        (TopKConfig(k=6), None),
        (BatchTopKConfig(k=6), None),
        (JumpReLUConfig(l0=6), None),
        (BatchTopKConfig(k=6), MatryoshkaConfig(prefixes=(32, 128))),
    ],
    ids=["topk", "batchtopk", "jumprelu", "matryoshka"],
)
def test_planted_directions_are_found(rule: Any, nesting: Any, train: Any) -> None:
    """128 directions in 64 dimensions, 6 active a token, at the true sparsity."""
    x, truth = planted(64, 128, 6, 10_000, 0)
    config = AutoencoderConfig(latents=128, activation=rule, nesting=nesting, normaliser=StandardConfig())
    autoencoder = Autoencoder(config, 64, 0)
    autoencoder.initialise(x[:2048])
    start = mean_max_cosine(truth, autoencoder.decoder_rows())
    train(autoencoder, x, steps=250, batch=512)
    assert start < 0.6
    assert mean_max_cosine(truth, autoencoder.decoder_rows()) >= 0.9
    assert len(autoencoder.encode(x).values) / len(x) == pytest.approx(6, rel=0.1)
