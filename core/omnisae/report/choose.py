"""Which latents get pictures, and which examples stand on a latent's page."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

BANDS = 4


@dataclass(frozen=True, slots=True)
class Band:
    """One quarter of the examples in which a latent fires, by its strength: how many, and some picked at random."""

    low: float
    high: float
    n: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The examples on a latent's page: the strongest, then random ones from every quarter, strongest quarter first."""

    top: tuple[int, ...]
    bands: tuple[Band, ...]
    firing: int

    @property
    def rows(self) -> tuple[int, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys([*self.top, *(row for band in self.bands for row in band.rows)]))


def examples(strength: Float[np.ndarray, " example"], *, top: int, random: int, seed: int) -> Chosen:
    """The `top` examples by strength, and `random` others spread over the quarters of all those in which it fires."""
    firing = np.flatnonzero(strength > 0)
    order = firing[np.argsort(-strength[firing], kind="stable")]
    shown = set(order[:top].tolist())
    bands = []
    for i, quarter in enumerate(np.array_split(order, BANDS) if random else ()):
        if not len(quarter):
            continue
        share = random // BANDS + (i < random % BANDS)
        others = [row for row in quarter.tolist() if row not in shown]
        picked = np.random.default_rng([seed, i]).permutation(len(others))[:share]
        rows = sorted((others[j] for j in picked), key=lambda row: -strength[row])
        bands.append(Band(float(strength[quarter[-1]]), float(strength[quarter[0]]), len(quarter), tuple(rows)))
    return Chosen(tuple(order[:top].tolist()), tuple(bands), len(firing))


def pictured(
    margin: Float[np.ndarray, " latent"], counts: Int[np.ndarray, " latent"], most: int
) -> Int[np.ndarray, " picked"]:
    """The latents that get pictures, ascending: by their concept's margin over its best control (NaN: none), then by
    how often they fire. Latents that never fire get none."""
    alive = np.flatnonzero(counts > 0)
    best = np.where(np.isnan(margin[alive]), -np.inf, margin[alive])
    order = np.lexsort((-counts[alive], -best))
    return np.sort(alive[order[:most]])
