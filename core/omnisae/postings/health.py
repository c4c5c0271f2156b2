"""Is the autoencoder healthy: explained variance, L0, dead share and density, streamed in fp64.

Explained variance has one definition in omnisae:

    1 − Σ‖x − x̂‖² / Σ‖x − mean‖²

in raw units, both sums over the tokens of the TEST examples, `mean` the mean over these same tokens.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64

from omnisae.postings.poles import Poles
from omnisae.postings.spread import sums

DECADES = 7
BINS_PER_DECADE = 4


@dataclass
class Reconstruction:
    """Sums over a stream of tokens. The spread about the mean is merged batch by batch (Chan, Golub & LeVeque 1979),
    which loses no digits where the mean is large beside the spread."""

    tokens: int = 0
    entries: int = 0
    width: int = 0
    sse: float = 0.0
    spread: float = 0.0
    mean: Float64[np.ndarray, " width"] | None = field(default=None)

    def add(self, x: Float[np.ndarray, "token width"], decoded: Float[np.ndarray, "token width"], entries: int) -> None:
        """One batch: activations, their reconstructions, and how many latents fired in all."""
        n = len(x)
        if n == 0:
            return
        mean, spread, sse = sums(x, decoded)
        self.sse += sse
        if self.mean is None:
            self.mean, self.spread, self.width = mean, spread, x.shape[1]
        else:
            gap = mean - self.mean
            total = self.tokens + n
            self.spread += spread + float(gap @ gap) * self.tokens * n / total
            self.mean = self.mean + gap * (n / total)
        self.tokens += n
        self.entries += entries

    @property
    def explained_variance(self) -> float:
        """1 where everything is explained, 0 where no more than the mean; negative where worse.

        Tokens that are all alike have nothing to explain: 1 if nothing is lost, else 0.
        """
        if self.spread > 0:
            return 1.0 - self.sse / self.spread
        return 1.0 if self.sse == 0 else 0.0

    @property
    def mse(self) -> float:
        """Mean squared error of one value, raw units."""
        return self.sse / (self.tokens * self.width) if self.tokens else 0.0

    @property
    def l0(self) -> float:
        """Mean number of latents that fire at a token."""
        return self.entries / self.tokens if self.tokens else 0.0


def health(
    test: Reconstruction, counts: Int64[np.ndarray, " list"], tokens: int, poles: Poles | None = None
) -> dict[str, Any]:
    """The contents of health.json. `counts` are firings of every posting list over all `tokens` encoded tokens (SELECT
    and TEST), `poles` what the lists belong to (None: a latent each). A latent lives that fires with either sign.
    """
    poles = Poles(len(counts)) if poles is None else poles
    signs = _signs(counts, poles) if poles.signed else {}
    counts = poles.per_latent(counts)
    return {
        "explained_variance": test.explained_variance,
        "mse": test.mse,
        "l0": test.l0,
        "dead_fraction": float((counts == 0).mean()),
        **signs,
        "tokens": test.tokens,
        "tokens_encoded": tokens,
        "density": density(counts, tokens),
    }


def _signs(counts: Int64[np.ndarray, " list"], poles: Poles) -> dict[str, float]:
    """Which living latents use both signs, and how evenly the median one does; 0 where none lives."""
    rarer = poles.balance(counts)
    if not len(rarer):
        return {"bipolar_fraction": 0.0, "rarer_sign": 0.0}
    return {"bipolar_fraction": float((rarer > 0).mean()), "rarer_sign": float(np.median(rarer))}


def density(counts: Int64[np.ndarray, " latent"], tokens: int) -> dict[str, Any]:
    """How many latents fire how often: a histogram of log10(firings / tokens); the latents that never fire apart."""
    edges = np.linspace(-DECADES, 0, DECADES * BINS_PER_DECADE + 1)
    alive = counts[counts > 0]
    logs = np.clip(np.log10(alive / max(tokens, 1)), -DECADES, 0) if len(alive) else np.zeros(0)
    histogram, _ = np.histogram(logs, edges)
    return {"edges": edges.tolist(), "latents": histogram.tolist(), "dead": int((counts == 0).sum())}
