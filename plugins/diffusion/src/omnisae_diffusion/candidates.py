"""What an adversarial search may vary: initial noise, and a mixture of labels or prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnisae.errors import ConfigError


@dataclass(frozen=True)
class Candidate:
    """One input of the generator: standard normal noise of the model's latent shape, in fp32, and what each of the
    space's labels counts for, which sums to 1; None where the space has no labels."""

    noise: Float[np.ndarray, "*latent"]
    weights: Float[np.ndarray, " label"] | None = None


@dataclass(frozen=True)
class Space:
    """Noise of a shape and, where `labels` are named, mixtures of them. What a label is, the generator knows: a class
    whose embedding it mixes, or a prompt whose embedding it mixes. Leave out the erased concept's own prompts where the
    question is whether *other* inputs bring it back. Raises ConfigError where the shape holds nothing."""

    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()
    mix: bool = True
    """Whether labels may be mixed; where not, every candidate has a single one."""

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise ConfigError(f"noise of shape {list(self.shape)} holds no number", "give the model's latent shape")
        if len(set(self.labels)) != len(self.labels):
            raise ConfigError("a label is named more than once", "name each once")

    def listed(self, random: np.random.Generator) -> list[Candidate]:
        """Each label alone, with noise of its own."""
        return [Candidate(self._noise(random), row) for row in np.eye(len(self.labels))]

    def draw(self, random: np.random.Generator) -> Candidate:
        """Noise from the standard normal distribution; a label alone, or (half of them) an even draw of mixtures."""
        noise = self._noise(random)
        if not self.labels:
            return Candidate(noise)
        return Candidate(noise, self._mixture(random))

    def near(self, other: Candidate, step: float, random: np.random.Generator) -> Candidate:
        """A candidate near another. Noise is turned by the angle `step` towards fresh noise, which keeps it standard
        normal: moves along a straight line would leave the noise that the model was trained on."""
        noise = np.cos(step) * other.noise + np.sin(step) * self._noise(random)
        weights = other.weights
        if weights is not None and random.random() < 0.5:
            toward, share = self._mixture(random), random.random() * step / (np.pi / 2)
            weights = (1 - share) * weights + share * toward if self.mix else toward
        return Candidate(noise.astype(np.float32), weights)

    def join(self, several: Sequence[Candidate]) -> Candidate:
        """What several candidates have in common: their noises summed, at the length that noise has, and the mean of
        their mixtures (where labels may not be mixed, the first one's label). One candidate stays as it is."""
        if len(several) == 1:
            return several[0]
        summed = np.sum([one.noise for one in several], axis=0, dtype=np.float64)
        length = np.mean([np.linalg.norm(one.noise) for one in several])
        noise = (summed * (length / max(np.linalg.norm(summed), 1e-12))).astype(np.float32)
        if not self.labels:
            return Candidate(noise)
        weights = np.stack([one.weights for one in several if one.weights is not None])
        return Candidate(noise, weights.mean(axis=0) if self.mix else weights[0])

    def _noise(self, random: np.random.Generator) -> Float[np.ndarray, "*latent"]:
        return random.standard_normal(self.shape, dtype=np.float32)

    def _mixture(self, random: np.random.Generator) -> Float[np.ndarray, " label"]:
        count = len(self.labels)
        if self.mix and random.random() < 0.5:
            return random.dirichlet(np.ones(count))
        return np.asarray(np.eye(count)[random.integers(count)])
