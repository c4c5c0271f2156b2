"""The parts of an autoencoder that must fit each other."""

from omnisae.autoencoders.activation import Activation
from omnisae.autoencoders.nesting import Nesting
from omnisae.config import AutoencoderConfig


def rule_and_nesting(config: AutoencoderConfig) -> tuple[Activation, Nesting]:
    """The activation rule and the nesting of a config.

    Raises ConfigError where one does not fit the number of latents, or they do not fit each other.
    """
    rule: Activation = config.activation.build(config.latents)
    nesting: Nesting = config.nesting.build(config.latents) if config.nesting else Nesting((config.latents,))
    nesting.check(rule)
    return rule, nesting
