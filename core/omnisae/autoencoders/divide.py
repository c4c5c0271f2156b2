"""Dividing an autoencoder's latents among processes: which of its tensors have rows a latent, and what cannot be."""

from collections.abc import Iterator

from torch import nn

from omnisae.autoencoders.activation import Activation
from omnisae.autoencoders.dictionary import Dictionary
from omnisae.autoencoders.loss import Penalty
from omnisae.autoencoders.shard import Shard
from omnisae.errors import ConfigError

OWN = ("encoder", "encoder_bias", "decoder", "silence.tokens", "silence.candidates")
"""The autoencoder's own tensors with one row a latent."""
Part = Activation | Dictionary | Penalty


def divide(parts: dict[str, Part], latents: int, shard: Shard) -> frozenset[str]:
    """Leave to each part, which is named by its place in the autoencoder, the rows of the latents held here.

    Returns the names of all tensors of the autoencoder that have one row a latent. Raises ConfigError where there are
    fewer latents than processes, or a part must see all of them.
    """
    if shard.divided:
        _check(parts, latents, shard.over_latents.size)
        for _, part, name in _by_latent(parts):
            _cut(part, name, shard.held(latents))
    return frozenset((*OWN, *(f"{place}.{name}" for place, _, name in _by_latent(parts))))


def _by_latent(parts: dict[str, Part]) -> Iterator[tuple[str, nn.Module, str]]:
    for place, part in parts.items():
        for name in part.by_latent:
            if getattr(part, name) is not None:
                yield place, part, name


def _check(parts: dict[str, Part], latents: int, processes: int) -> None:
    if latents < processes:
        raise ConfigError(
            f"autoencoder.latents {latents} cannot be divided among {processes} processes",
            f"lower train.latent_shards to {latents} or less",
        )
    for place, part in parts.items():
        if not part.divisible:
            raise ConfigError(
                f"train.latent_shards {processes}: the autoencoder's {place} ({type(part).__name__}) must see all "
                f"latents at once, and each process holds some",
                "set train.latent_shards to 1, choose another rule, or let its class say `divisible = True` where it "
                "looks at each latent alone",
            )


def _cut(part: nn.Module, name: str, held: slice) -> None:
    tensor = getattr(part, name)
    rows = tensor.detach()[held].clone()
    setattr(part, name, nn.Parameter(rows, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else rows)
