"""Nesting: dictionaries within the dictionary, or codes within the codes, that must each reconstruct on their own."""

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from omnisae.errors import ConfigError

if TYPE_CHECKING:
    from omnisae.autoencoders.activation import Activation


class Nesting:
    """Prefixes of the latents and the weight of each one's reconstruction loss (weights sum to one).

    Without nesting there is one prefix: all latents. With `ks` the prefixes are of each token's codes, in the order of
    their sizes, and all latents are in one.
    """

    def __init__(
        self, prefixes: tuple[int, ...], weights: tuple[float, ...] | None = None, ks: tuple[int, ...] | None = None
    ) -> None:
        self.prefixes, self.ks = prefixes, ks
        given = weights or (1.0,) * len(ks or prefixes)
        self.weights = tuple(weight / sum(given) for weight in given)

    @property
    def groups(self) -> int:
        """How many prefixes there are."""
        return len(self.weights)

    def check(self, activation: "Activation") -> None:
        """Raises ConfigError where `ks` do not end with the k of an activation rule that keeps the k largest."""
        if self.ks is None:
            return
        if activation.keeps is None:
            raise ConfigError(
                f"autoencoder.nesting: core.matryoshka_k nests the largest codes of a token, and "
                f"{type(activation).__name__} keeps no fixed number of them",
                "choose a rule with a k (core.topk, core.abstopk, core.batchtopk), or nest latents by core.matryoshka",
            )
        if self.ks[-1] != activation.keeps:
            raise ConfigError(
                f"autoencoder.nesting.ks: the last is {self.ks[-1]}, and the activation rule keeps {activation.keeps}",
                f"end the list with {activation.keeps}, or set autoencoder.activation.k to {self.ks[-1]}",
            )

    def cut(self, start: int, stop: int) -> "Nesting":
        """The same prefixes, counted among the latents from `start` up to `stop` only, with the same weights."""
        part = Nesting(tuple(min(max(prefix, start), stop) - start for prefix in self.prefixes), ks=self.ks)
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


def matryoshka_k(ks: tuple[int, ...], weights: Literal["uniform", "reverse"], latents: int) -> Nesting:
    """Matryoshka over k (Zaigrajew et al. 2025, "Interpreting CLIP with Hierarchical Sparse Autoencoders").

    The n weights are all alike, or n, n − 1, …, 1 from the smallest k to the largest. Raises ConfigError unless the ks
    rise strictly.
    """
    if any(a >= b for a, b in pairwise(ks)) or ks[0] < 1:
        raise ConfigError(
            f"autoencoder.nesting.ks: {list(ks)} do not rise strictly", "give them in ascending order, from 1"
        )
    falling = tuple(float(len(ks) - place) for place in range(len(ks)))
    return Nesting((latents,), falling if weights == "reverse" else None, ks)
