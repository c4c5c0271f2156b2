"""Normalisers and the centre from which an autoencoder starts."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import LayerNormConfig, ModulatedConfig, NoneConfig, StandardConfig, TopKConfig
from omnisae.autoencoders.initialise import geometric_median, unit_directions
from omnisae.config import AutoencoderConfig
from omnisae.errors import TrainingError
from omnisae.testing.planted import planted

X = planted(8, 16, 3, 512, 3)[0] * 4 + 2


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-10, 10), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize(
    "config", [NoneConfig(), StandardConfig(), LayerNormConfig(), ModulatedConfig()], ids=lambda c: c.type
)
def test_undo_gives_activations_back(config: Any, scale: float, shift: float, seed: int) -> None:
    x = (torch.randn(32, 8, generator=torch.Generator().manual_seed(seed)) + shift) * scale
    normaliser = config.build(8)
    normaliser.fit(x)
    normal, context = normaliser(x)
    torch.testing.assert_close(normaliser.undo(normal, context), x, rtol=1e-4, atol=1e-4 * scale * (1 + abs(shift)))


def test_standard_brings_the_mean_squared_norm_to_the_width() -> None:
    normaliser = StandardConfig().build(8)
    normaliser.fit(X)
    normal, _ = normaliser(X)
    torch.testing.assert_close(normal.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    assert float(normal.square().sum(1).mean()) == pytest.approx(8, rel=1e-5)


def test_standard_of_a_constant_is_finite() -> None:
    normaliser = StandardConfig().build(8)
    normaliser.fit(torch.ones(5, 8))
    assert not normaliser(torch.ones(5, 8))[0].any()


@pytest.mark.parametrize("config", [StandardConfig(), LayerNormConfig(), ModulatedConfig()], ids=lambda c: c.type)
@pytest.mark.parametrize("factor", [2.0**-6, 2.0**7])
def test_codes_do_not_depend_on_the_scale_of_activations(config: Any, factor: float) -> None:
    """Training on activations in other units gives the same autoencoder but for the units."""

    def codes(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        autoencoder = Autoencoder(AutoencoderConfig(latents=32, activation=TopKConfig(k=3), normaliser=config), 8, 0)
        autoencoder.initialise(x)
        found = autoencoder.encode(x)
        return found.dense(), autoencoder.decode(found).detach()

    plain, scaled = codes(X), codes(X * factor)
    torch.testing.assert_close(scaled[0], plain[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scaled[1], plain[1] * factor, rtol=1e-4, atol=1e-4 * factor)


def test_geometric_median_minimises_the_sum_of_distances() -> None:
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp()

    def total(at: Any) -> float:
        return float((points - torch.as_tensor(at)).norm(dim=1).sum())

    best = minimize(total, points.mean(0).numpy(), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    torch.testing.assert_close(geometric_median(points), torch.as_tensor(best.x), rtol=1e-4, atol=1e-4)


def test_geometric_median_withstands_outliers_and_coincidence() -> None:
    points = torch.cat([torch.zeros(60, 2), torch.full((40, 2), 1e6)])
    torch.testing.assert_close(geometric_median(points), torch.zeros(2), atol=1.0, rtol=0)


def test_directions_are_unit_and_repeatable() -> None:
    directions = unit_directions(50, 7, 3)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(50))
    assert torch.equal(directions, unit_directions(50, 7, 3))
    assert not torch.equal(directions, unit_directions(50, 7, 4))


@pytest.mark.parametrize("rule", [TopKConfig(k=3)])
def test_the_start_is_tied_and_reconstructs_better_than_the_mean(rule: Any, make: Any) -> None:
    autoencoder = make(rule, normaliser=StandardConfig(), latents=64)
    encoder, decoder = autoencoder.encoder.detach(), autoencoder.decoder.detach()
    alpha = (encoder / decoder).mean()
    torch.testing.assert_close(encoder, alpha * decoder)
    x = planted(8, 16, 3, 512, 1)[0]
    step = autoencoder(x)
    assert step.sse < step.sst


@pytest.mark.parametrize("bad", [torch.full((4, 8), torch.nan), torch.zeros(0, 8)], ids=["nan", "empty"])
def test_a_bad_sample_is_refused(bad: torch.Tensor, make: Any) -> None:
    with pytest.raises(TrainingError, match="empty or holds NaN or infinite values"):
        make(TopKConfig(k=3)).initialise(bad)


def test_a_perfect_autoencoder_has_no_loss() -> None:
    """Reconstruction is compared with the activations themselves, bias and all."""
    x, truth = planted(8, 8, 1, 64, 0)
    config = AutoencoderConfig(latents=8, activation=TopKConfig(k=1), normaliser=StandardConfig())
    autoencoder = Autoencoder(config, 8, 0)
    autoencoder.initialise(x)
    mean, scale = autoencoder.normaliser.mean, autoencoder.normaliser.scale
    with torch.no_grad():
        autoencoder.decoder.copy_(truth)
        autoencoder.decoder_bias.copy_(-mean * scale)
        autoencoder.encoder.copy_(torch.linalg.pinv(truth).T)
    step = autoencoder(x)
    assert float(step.loss.detach()) < 1e-8
    assert float(step.sse / step.sst) < 1e-8
