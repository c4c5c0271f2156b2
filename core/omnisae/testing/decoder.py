"""Checks of a decoder whose rows are made of something."""

import pytest
import torch
from torch import Tensor

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import TopKConfig
from omnisae.autoencoders.dictionary import Dictionary
from omnisae.config import AutoencoderConfig
from omnisae.plugins.kinds import DecoderConfig
from omnisae.testing.divided import learns_the_same_divided
from omnisae.testing.planted import planted


class DecoderTests:
    """Give the fixture `config`; `latents`, `width` and `tokens` (of the sample to start from) may be changed."""

    latents = 24
    width = 8
    tokens = 200

    @pytest.fixture
    def config(self) -> DecoderConfig:
        raise NotImplementedError("give the fixture `config`")

    @pytest.fixture(params=[True, False], ids=["unit", "scaled"])
    def unit_norm(self, request: pytest.FixtureRequest) -> bool:
        return bool(request.param)

    @pytest.fixture
    def sample(self) -> Tensor:
        return planted(self.width, 2 * self.width, 3, self.tokens, 0)[0]

    @pytest.fixture
    def dictionary(self, config: DecoderConfig, unit_norm: bool, sample: Tensor) -> Dictionary:
        return self.started(config, unit_norm, sample)

    def started(
        self, config: DecoderConfig, unit_norm: bool, sample: Tensor, seed: int = 0, like: Dictionary | None = None
    ) -> Dictionary:
        made = config.build(self.latents, self.width, unit_norm)
        assert made is not None, "`build` gives no dictionary: there is nothing to check"
        made.start(sample, seed, like)
        return made

    def test_it_makes_a_row_a_latent(self, dictionary: Dictionary) -> None:
        rows = dictionary()
        assert rows.shape == (self.latents, self.width)
        assert torch.isfinite(rows).all()
        assert (rows.norm(dim=1) > 0).all(), "a row is zero"

    def test_it_starts_the_same_twice(
        self, dictionary: Dictionary, config: DecoderConfig, unit_norm: bool, sample: Tensor
    ) -> None:
        torch.manual_seed(1)
        assert torch.equal(self.started(config, unit_norm, sample)(), dictionary()), "it draws by torch's own seed"

    def test_what_is_taken_over_is_what_it_would_have_learnt(
        self, dictionary: Dictionary, config: DecoderConfig, unit_norm: bool, sample: Tensor
    ) -> None:
        alone = self.started(config, unit_norm, sample, seed=1)
        after = self.started(config, unit_norm, sample, seed=1, like=dictionary)
        assert torch.equal(after(), alone()), "`like` changes where it starts"

    def test_rows_reach_every_parameter(self, dictionary: Dictionary) -> None:
        rows = dictionary()
        rows.backward(torch.randn(rows.shape, generator=torch.Generator().manual_seed(0)))
        for name, parameter in dictionary.named_parameters():
            assert parameter.grad is not None, f"{name} has no gradient"
            assert torch.isfinite(parameter.grad).all(), f"the gradient of {name} is not finite"
            assert parameter.grad.any(), f"the gradient of {name} is zero"

    def test_what_they_must_satisfy_they_satisfy_at_once(self, dictionary: Dictionary) -> None:
        """After the optimiser has moved them anywhere, and from the start."""
        generator = torch.Generator().manual_seed(0)
        for moved in (False, True):
            with torch.no_grad():
                for parameter in dictionary.parameters() if moved else ():
                    parameter.add_(torch.randn(parameter.shape, generator=generator))
            if moved:
                dictionary.after_step()
            before = dictionary().detach()
            dictionary.after_step()
            torch.testing.assert_close(dictionary().detach(), before, msg="a second `after_step` changes rows")

    def test_what_training_learns_is_state(
        self, dictionary: Dictionary, config: DecoderConfig, unit_norm: bool, sample: Tensor
    ) -> None:
        again = config.build(self.latents, self.width, unit_norm)
        assert again is not None
        again.load_state_dict(dictionary.state_dict())
        assert torch.equal(again(), dictionary()), "part of what rows are made of lies outside state_dict"

    def test_training_moves_rows(self, config: DecoderConfig, unit_norm: bool, sample: Tensor) -> None:
        autoencoder = Autoencoder(self.around(config, unit_norm), self.width, 0)
        autoencoder.initialise(sample)
        first, losses = autoencoder.decoder_rows().clone(), []
        optimiser = torch.optim.Adam(autoencoder.parameters(), lr=0.01)
        for _ in range(8):
            step = autoencoder(sample)
            optimiser.zero_grad()
            step.loss.backward()
            autoencoder.before_step()
            optimiser.step()
            autoencoder.after_step(step.fired, len(sample))
            losses.append(float(step.loss.detach()))
        assert losses[-1] < losses[0]
        assert not torch.equal(autoencoder.decoder_rows(), first)

    def test_what_may_be_divided_learns_the_same_divided(
        self, dictionary: Dictionary, config: DecoderConfig, unit_norm: bool, sample: Tensor
    ) -> None:
        """Two processes that each hold half the latents, played by threads, where the dictionary says `divisible`."""
        if not dictionary.divisible:
            pytest.skip("the dictionary does not say `divisible`")
        learns_the_same_divided(self.around(config, unit_norm), sample)

    def around(self, config: DecoderConfig, unit_norm: bool) -> AutoencoderConfig:
        """An autoencoder with this decoder."""
        return AutoencoderConfig(latents=self.latents, activation=TopKConfig(k=3), decoder=config, unit_norm=unit_norm)
