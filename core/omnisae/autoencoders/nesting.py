"""Nesting: dictionaries within the dictionary, each of which must reconstruct on its own."""

from itertools import pairwise

from omnisae.errors import ConfigError


class Nesting:
    """Prefixes of the latents and the weight of each one's reconstruction loss (weights sum to one).

    Without nesting there is one prefix: all latents.
    """

    def __init__(self, prefixes: tuple[int, ...], weights: tuple[float, ...] | None = None) -> None:
        self.prefixes = prefixes
        given = weights or (1.0,) * len(prefixes)
        self.weights = tuple(weight / sum(given) for weight in given)

    def cut(self, start: int, stop: int) -> "Nesting":
        """The same prefixes, counted among the latents from `start` up to `stop` only, with the same weights."""
        part = Nesting(tuple(min(max(prefix, start), stop) - start for prefix in self.prefixes))
        part.weights = self.weights
        return part


def matryoshka(prefixes: tuple[float, ...], weights: tuple[float, ...] | None, latents: int) -> Nesting:
    """Matryoshka prefixes (Bussmann et al. 2025, "Learning multi-level features with Matryoshka sparse autoencoders").

    A prefix below 1 is a share of the latents. Raises ConfigError unless they rise strictly and end with all latents.
    """
    counts = tuple(round(prefix * latents) if prefix < 1 else int(prefix) for prefix in prefixes)
    if any(a >= b for a, b in pairwise(counts)) or counts[0] < 1:
        raise ConfigError(
            f"autoencoder.nesting.prefixes: {list(prefixes)} do not rise strictly",
            "give them in ascending order, from 1",
        )
    if counts[-1] != latents:
        raise ConfigError(
            f"autoencoder.nesting.prefixes: the last is {counts[-1]}, and the autoencoder has {latents} latents",
            f"end the list with {latents}, so that every latent is trained (smaller ones may be shares, such as 0.25)",
        )
    if weights is not None and len(weights) != len(prefixes):
        raise ConfigError(
            f"autoencoder.nesting.weights: {len(weights)} weights for {len(prefixes)} prefixes",
            "give one for each prefix",
        )
    return Nesting(counts, weights)
