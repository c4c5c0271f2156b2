"""A normaliser that follows a condition: the map, what is fitted, and what an autoencoder gains by it."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import (
    BatchTopKConfig,
    JumpReLUConfig,
    ModulatedConfig,
    StandardConfig,
    TopKConfig,
)
from omnisae.autoencoders.modulated import FLOOR, ROWS, Modulated, _averages, _bins, _shrunk
from omnisae.config import AutoencoderConfig, AuxKConfig
from omnisae.errors import ConfigError
from omnisae.testing.planted import planted

TICKS = torch.tensor([950.0, 800.0, 650.0, 500.0, 350.0, 200.0, 50.0])
CONFIGS = [ModulatedConfig(), ModulatedConfig(knots=3), ModulatedConfig(per_dimension=True), ModulatedConfig(columns=2)]


def moving(n: int, *, width: int = 6, seed: int = 0) -> Tensor:
    """Tokens whose mean and scale move with the last entry."""
    generator = torch.Generator().manual_seed(seed)
    t = TICKS[torch.randint(len(TICKS), (n,), generator=generator)]
    return follow(torch.randn(n, width, generator=generator), t)


def follow(x: Tensor, t: Tensor) -> Tensor:
    """Shifted and scaled by functions of t, which is appended."""
    drift = torch.randn(2, x.shape[1], generator=torch.Generator().manual_seed(5))
    u = (t / 1000)[:, None]
    return torch.cat([4 * (3 * u).cos() * drift[0] + 4 * u**2 * drift[1] + 3 * (-2 * u).exp() * x, t[:, None]], 1)


def fitted(sample: Tensor, **fields: Any) -> Modulated:
    normaliser = ModulatedConfig(**fields).build(sample.shape[1])
    normaliser.fit(sample)
    return normaliser


@given(seed=st.integers(0, 999), outside=st.floats(-1e4, 1e4), shift=st.floats(-100, 100), scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_undo_gives_tokens_back_whatever_the_condition(
    config: Any, seed: int, outside: float, shift: float, scale: float
) -> None:
    sample = moving(200, seed=seed) * scale + shift
    normaliser = config.build(7)
    normaliser.fit(sample)
    normaliser.double()
    unseen = sample.double()
    unseen[::2, -1] = outside
    normal, context = normaliser(unseen)
    assert not normal[:, 7 - config.columns :].any()
    back = normaliser.undo(normal, context)
    torch.testing.assert_close(back, unseen, rtol=1e-9, atol=1e-9 * float(unseen.abs().max()))
    assert torch.equal(back[:, -1], unseen[:, -1])


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_row_is_normalised_as_if_it_were_alone(config: Any) -> None:
    x = moving(64)
    normaliser = config.build(7)
    normaliser.fit(x)
    normal, context = normaliser(x)
    alone = [normaliser(row[None]) for row in x]
    assert torch.equal(normal, torch.cat([one for one, _ in alone]))
    assert torch.equal(context, torch.cat([its for _, its in alone]))


@pytest.mark.parametrize("fields", [{}, {"knots": 1}, {"per_dimension": True}], ids=str)
def test_a_constant_condition_gives_the_standard_normaliser(fields: Any) -> None:
    x = moving(500)
    if "knots" not in fields:
        x[:, -1] = 400.0
    standard = StandardConfig().build(6)
    standard.fit(x[:, :-1])
    expected, _ = standard(x[:, :-1])
    if fields.get("per_dimension"):
        expected = expected / expected.square().mean(0).sqrt()
    torch.testing.assert_close(fitted(x, **fields)(x)[0][:, :-1], expected, rtol=1e-5, atol=1e-5)


def test_what_is_fitted_equals_a_slow_reference_between_and_outside_the_knots() -> None:
    x = moving(7000)
    normaliser = fitted(x)
    ticks = TICKS.sort().values
    groups = [x[x[:, -1] == t, :-1].double() for t in ticks]
    means = torch.stack([group.mean(0) for group in groups])
    logs = torch.stack([(group - group.mean(0)).square().mean().sqrt().log() for group in groups])
    for t in (-100.0, 50.0, 51.0, 125.0, 200.0, 940.0, 950.0, 4000.0):
        mean, deviation = normaliser._at(torch.tensor([[t]]))
        low = max(int((ticks <= t).sum()) - 1, 0)
        high = min(low + 1, len(ticks) - 1) if t >= ticks[0] else low
        share = float((t - ticks[low]) / (ticks[high] - ticks[low])) if high > low else 0.0
        # A thousand rows a knot say so much more than chance that all but nothing is drawn towards the mean.
        torch.testing.assert_close(mean[0].double(), means[low].lerp(means[high], share), rtol=1e-2, atol=1e-2)
        expected = float(logs[low].lerp(logs[high], share).exp())
        assert float(deviation) == pytest.approx(expected, rel=1e-2)


def test_the_mean_squared_norm_is_the_width_of_the_activation() -> None:
    x = moving(3000)
    for normaliser in (fitted(x), fitted(x, knots=3), fitted(x, per_dimension=True)):
        assert float(normaliser(x)[0].square().sum(1).mean()) == pytest.approx(6, rel=1e-4)


def test_at_every_value_of_the_condition_mean_and_scale_are_taken_out() -> None:
    x = moving(7000)
    normal = fitted(x)(x)[0][:, :-1]
    for t in TICKS:
        its = normal[x[:, -1] == t]
        assert float(its.mean(0).abs().max()) < 0.05
        assert float(its.square().mean()) == pytest.approx(1, rel=0.05)


def test_one_number_keeps_the_geometry_and_one_per_dimension_evens_it() -> None:
    x = moving(4000)
    x[:, 0] *= 10
    spread = [fitted(x, per_dimension=each)(x)[0][:, :-1].std(0) for each in (False, True)]
    assert float(spread[0][0] / spread[0][1]) > 5
    torch.testing.assert_close(spread[1], torch.ones(6), rtol=0.05, atol=0)


@pytest.mark.parametrize("n", [8000, 100, 20, 1])
def test_knots_are_few_ascend_and_stand_on_enough_rows(n: int) -> None:
    """Where every row has a condition of its own."""
    t = torch.rand(n, generator=torch.Generator().manual_seed(0)).double() * 1000
    bins = _bins(t, 32)
    assert len(bins.at) == min(32, max(1, n // ROWS)) or (len(bins.at) < 32 and n < 32 * ROWS)
    assert (bins.at.diff() > 0).all()
    assert int(bins.rows.sum()) == n
    assert n < ROWS or int(bins.rows.min()) >= ROWS
    for bin in range(len(bins.at)):
        assert float(bins.at[bin]) == pytest.approx(float(t[bins.of == bin].mean()))


def test_a_value_with_few_rows_joins_its_neighbour() -> None:
    t = torch.tensor([0.0] * 20 + [1.0] * 3 + [2.0] * 20 + [9.0] * 2).double()
    assert _bins(t, 64).rows.tolist() == [20.0, 25.0]


def test_smooth_functions_of_many_conditions_are_followed() -> None:
    t = 1000 * torch.rand(8000, generator=torch.Generator().manual_seed(1))
    x = follow(torch.randn(8000, 6, generator=torch.Generator().manual_seed(2)), t)
    new = torch.linspace(30, 970, 200)
    mean, deviation = fitted(x, knots=32)._at(new[:, None])
    truth = follow(torch.zeros(200, 6), new)[:, :-1]
    assert float(((mean - truth) / deviation).abs().max()) < 4 / 250**0.5  # 250 rows a knot
    torch.testing.assert_close(deviation[:, 0], 3 * (-2 * new / 1000).exp(), rtol=0.06, atol=0)


def test_drawing_towards_the_mean_equals_a_slow_reference() -> None:
    values = torch.tensor([[0.0, 1.0], [4.0, -3.0], [2.0, 2.0]], dtype=torch.float64)
    noise, rows = torch.tensor([0.5, 8.0, 0.1]).double(), torch.tensor([50.0, 10.0, 40.0]).double()
    centre = sum(float(n) * value for n, value in zip(rows, values, strict=True)) / 100
    signal = -sum(float(n / 100 * (1 - n / 100) * e) for n, e in zip(rows, noise, strict=True))
    signal += sum(float(n / 100 * (v - centre).square().sum()) for n, v in zip(rows, values, strict=True))
    expected = [centre + signal / (signal + float(e)) * (v - centre) for e, v in zip(noise, values, strict=True)]
    torch.testing.assert_close(_shrunk(values, noise, rows), torch.stack(expected))


def test_how_far_chance_moves_a_mean_is_known() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(40_000, 5, generator=generator).double()
    bins = _bins(torch.arange(40_000).double() % 1000, 1000)
    mean, noise = _averages(x, bins)
    assert float(noise.mean()) == pytest.approx(float(mean.square().sum(1).mean()), rel=0.1)


def test_a_condition_that_says_nothing_changes_next_to_nothing() -> None:
    generator = torch.Generator().manual_seed(4)
    x = moving(3000)
    x[:, -1] = x[torch.randperm(3000, generator=generator), -1]
    standard = StandardConfig().build(6)
    standard.fit(x[:, :-1])
    expected, found = standard(x[:, :-1])[0], fitted(x)(x)[0][:, :-1]
    assert float((found - expected).square().sum() / expected.square().sum()) < 2e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_stored_condition_that_was_rounded_serves_the_exact_one(dtype: torch.dtype) -> None:
    """bf16 makes 952 of 950: tokens of a store are normalised all but as those of the running model."""
    x = moving(7000)
    stored = x.to(dtype).float()
    assert dtype == torch.float16 or not torch.equal(stored[:, -1], x[:, -1])
    found, expected = fitted(stored)(x)[0], fitted(x)(x)[0]
    assert float((found - expected).square().mean().sqrt()) < 0.02


def test_what_is_not_finite_stays_with_its_row() -> None:
    x = moving(300)
    normaliser = fitted(x)
    clean, _ = normaliser(x)
    x[3, 0], x[5, -1], x[7, -1] = torch.nan, torch.nan, torch.inf
    normal, context = normaliser(x)
    rest = [row for row in range(300) if row not in (3, 5, 7)]
    assert torch.equal(normal[rest], clean[rest])
    assert normal[3, 0].isnan()
    assert normal[5, :-1].isnan().all()
    last = x[7].clone()
    last[-1] = TICKS.max()
    assert torch.equal(normal[7], normaliser(last[None])[0][0])
    assert float(normaliser.undo(normal, context)[7, -1]) == torch.inf


def test_what_never_varies_is_left_at_its_scale() -> None:
    x = moving(300)
    x[:, 2] = 0.1
    for each in (False, True):
        assert float(fitted(x, per_dimension=each)(x)[0][:, 2].abs().max()) < 1e-5
    x[:, :-1] = 0.1
    assert float(fitted(x)(x)[0].abs().max()) < 1e-5


def test_a_knot_without_variance_does_not_blow_up_new_tokens() -> None:
    x = moving(700)
    x[x[:, -1] == 50, :-1] = 1.0
    _, deviation = fitted(x)._at(torch.tensor([[50.0]]))
    spread = (x[:, :-1] - x[:, :-1].mean(0)).square().mean().sqrt()
    assert float(deviation) > 0.1 * FLOOR**0.5 * float(spread)


def test_several_columns_add_up() -> None:
    """Planted sums of two curves, over conditions that go together: each column gets its own share."""
    generator = torch.Generator().manual_seed(6)
    a = torch.randint(5, (6000,), generator=generator).float()
    b = ((a > 2).float() + (torch.rand(6000, generator=generator) < 0.3).float()) % 2
    noise = torch.randn(6000, 4, generator=generator)
    x = torch.cat([(3 * a - 7 * b)[:, None] + (0.3 * a - 0.7 * b).exp()[:, None] * noise, a[:, None], b[:, None]], 1)
    normal = fitted(x, columns=2)(x)[0]
    assert not normal[:, 4:].any()
    for one in range(5):
        for two in range(2):
            its = normal[(a == one) & (b == two), :4]
            assert float(its.mean(0).abs().max()) < 0.15
            assert float(its.square().mean()) == pytest.approx(1, rel=0.15)


def test_columns_that_leave_no_activation_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"normaliser.columns: 3 of the token's 3 entries are its condition"):
        ModulatedConfig(columns=3).build(3)


def test_codes_without_their_condition_are_refused() -> None:
    with pytest.raises(ValueError, match="carry each token's condition; these do not"):
        ModulatedConfig().build(4).undo(torch.zeros(2, 4), None)


def autoencoder(config: Any, width: int, rule: Any, latents: int) -> Autoencoder:
    built = AutoencoderConfig(latents=latents, activation=rule, normaliser=config, auxk=AuxKConfig(k=0))
    return Autoencoder(built, width, 0)


def test_an_edit_moves_the_activation_and_not_its_condition() -> None:
    x = moving(600)
    sae = autoencoder(ModulatedConfig(), 7, TopKConfig(k=3), 16)
    sae.initialise(x)
    codes = sae.encode(x)
    moved = sae.decode(codes.largest(1)) - sae.decode(codes)
    assert moved[:, :-1].any()
    assert not moved[:, -1].any()
    assert torch.equal(sae.decode(codes)[:, -1], x[:, -1])


def test_another_autoencoder_of_the_pass_takes_over_what_was_fitted() -> None:
    x = moving(600)
    first, second = (autoencoder(ModulatedConfig(), 7, TopKConfig(k=3), latents) for latents in (16, 24))
    first.initialise(x)
    second.initialise(x, like=first)
    for name, tensor in first.normaliser.state_dict().items():
        assert tensor.any()
        assert torch.equal(tensor, second.normaliser.state_dict()[name])


@pytest.mark.parametrize("rule", [TopKConfig(k=3), BatchTopKConfig(k=3), JumpReLUConfig(l0=3)], ids=lambda r: r.type)
def test_at_equal_sparsity_the_error_falls_at_every_condition(rule: Any, train: Any) -> None:
    """Sparse structure that does not depend on t under a mean and a scale that do; shuffled conditions win nothing."""
    generator = torch.Generator().manual_seed(8)
    place = torch.randint(len(TICKS), (6000,), generator=generator)
    x = follow(planted(12, 24, 3, 6000, 0)[0], TICKS[place])
    shuffled = torch.cat([x[:, :-1], x[torch.randperm(6000, generator=generator), -1:]], 1)

    def errors(config: Any, x: Tensor) -> Tensor:
        sae = autoencoder(config, x.shape[1], rule, 32)
        sae.initialise(x[:2048])
        codes = train(sae, x[:4000], steps=120, batch=128).encode(x[4000:])
        assert len(codes.values) / 2000 == pytest.approx(3, rel=0.2)
        lost = (sae.decode(codes) - x[4000:])[:, :12].detach().square().sum(1)
        return torch.stack([lost[place[4000:] == tick].mean() for tick in range(len(TICKS))])

    standard = errors(StandardConfig(), x[:, :-1])
    assert (errors(ModulatedConfig(), x) < 0.5 * standard).all()
    assert float(errors(ModulatedConfig(), shuffled).mean()) > 0.8 * float(standard.mean())
