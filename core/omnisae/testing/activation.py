"""Checks of an activation rule."""

import pytest
import torch
from torch import Tensor

from omnisae.autoencoders.activation import Activation, SparseActivation
from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.operand import Operand
from omnisae.autoencoders.preactivations import Preactivations
from omnisae.config import AutoencoderConfig
from omnisae.plugins.kinds import ActivationConfig
from omnisae.testing.divided import learns_the_same_divided
from omnisae.testing.planted import planted


class ActivationTests:
    """Give the fixture `config`; `latents` and `tokens` may be changed."""

    latents = 24
    tokens = 40

    @pytest.fixture
    def config(self) -> ActivationConfig:
        raise NotImplementedError("give the fixture `config`")

    @pytest.fixture
    def pre(self) -> Tensor:
        """Pre-activations, no two alike."""
        return torch.randn(self.tokens, self.latents, generator=torch.Generator().manual_seed(0))

    @pytest.fixture
    def given(self, pre: Tensor) -> Preactivations:
        """The same pre-activations as an encoder gives them."""
        return Preactivations(Operand(pre), torch.eye(self.latents), *torch.zeros(2, self.latents))

    @pytest.fixture
    def activation(self, config: ActivationConfig, given: Preactivations, pre: Tensor) -> Activation:
        rule = config.build(self.latents)
        rule.initialise(given, 1.0)
        rule.train()
        rule(pre)
        rule.after_step()
        return rule.eval()

    def test_shapes_stay(self, activation: Activation, pre: Tensor) -> None:
        assert activation(pre).shape == activation.infer(pre).shape == pre.shape

    def test_inference_treats_rows_one_by_one(self, activation: Activation, pre: Tensor) -> None:
        together = activation.infer(pre)
        alone = torch.cat([activation.infer(row[None]) for row in pre])
        assert torch.equal(together, alone), "a token's code depends on its batch"

    def test_codes_are_the_dense_inference(self, activation: Activation, pre: Tensor) -> None:
        codes = activation.codes(pre)
        assert torch.equal(codes.dense(), activation.infer(pre))
        assert (codes.values != 0).all()
        for token in range(len(codes)):
            latents = codes.latents[codes.offsets[token] : codes.offsets[token + 1]]
            assert (latents[1:] > latents[:-1]).all(), "latents must ascend within a token"

    def test_found_codes_are_the_dense_inference(
        self, activation: Activation, given: Preactivations, pre: Tensor
    ) -> None:
        found = activation.find(given)
        codes = Codes(found.offsets, found.latents.long(), found.values, self.latents)
        assert torch.equal(codes.dense(), activation.infer(pre))

    def test_codes_are_negative_only_where_it_says_so(self, activation: Activation, pre: Tensor) -> None:
        assert activation.signed or (activation.infer(pre) >= 0).all(), "codes are negative: declare `signed = True`"

    def test_a_rule_with_a_k_picks(self, activation: Activation, given: Preactivations) -> None:
        if activation.keeps is None:
            pytest.skip("the rule keeps no fixed number of pre-activations")
        assert isinstance(activation, SparseActivation), "a rule that says what it `keeps` picks entries"
        picked = activation.pick(given)
        assert picked is not None, "a rule that says what it `keeps` picks always"
        assert picked.entries <= self.tokens * activation.keeps

    def test_it_is_sparse(self, activation: Activation, pre: Tensor) -> None:
        assert (activation.infer(pre) == 0).any(), "every latent fires on every token"

    def test_training_reaches_the_pre_activations(self, activation: Activation, pre: Tensor) -> None:
        leaf = pre.clone().requires_grad_(True)
        out = activation.train()(leaf)
        terms = activation.losses(leaf)
        (out.sum() + sum(terms.values(), torch.zeros(()))).backward()
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        assert leaf.grad.any()

    def test_what_training_learns_is_state(self, activation: Activation, config: ActivationConfig, pre: Tensor) -> None:
        again = config.build(self.latents)
        again.load_state_dict(activation.state_dict())
        assert torch.equal(again.eval().infer(pre), activation.infer(pre)), "part of the rule lies outside state_dict"

    def test_what_may_be_divided_learns_the_same_divided(self, config: ActivationConfig) -> None:
        """Two processes that each hold half the latents, played by threads, where the rule says `divisible`."""
        if not config.build(self.latents).divisible:
            pytest.skip("the rule does not say `divisible`")
        made = AutoencoderConfig(latents=self.latents, activation=config)
        learns_the_same_divided(made, planted(8, 16, 3, self.tokens, 0)[0])

    def test_it_says_its_rule(self, activation: Activation) -> None:
        assert activation.rule()
