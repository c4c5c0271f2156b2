"""SAEdit's selection (Kamenetsky et al. 2025, "SAEdit: Token-level control for continuous image editing via Sparse
AutoEncoder"): a direction in code space from pairs of prompts, one without and one with an attribute.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64
from scipy.sparse import csr_array

from omnisae.errors import DatasetError
from omnisae_diffusion.selection.entry import Entry
from omnisae_diffusion.selection.quantile import at_least
from omnisae_diffusion.selection.table import LatentTable

METHOD = "saedit"
PERCENTILE = 99.5
EPSILON = 1e-6
LIMIT = 15.0
"""The strength at which a factor of one stops growing."""


def masked(
    source: Float[np.ndarray, " latent"],
    target: Float[np.ndarray, " latent"],
    percentile: float = PERCENTILE,
    epsilon: float = EPSILON,
) -> Float64[np.ndarray, " latent"]:
    """The target's values where the ratio t / (s + ε) is at or above its percentile over all latents, else 0.

    `source` and `target` are token maxima of the two prompts of one pair.
    """
    s, t = source.astype(np.float64), target.astype(np.float64)
    return np.where(at_least(t / (s + epsilon), percentile), t, 0.0)


def direction(
    sources: csr_array, targets: csr_array, percentile: float = PERCENTILE, epsilon: float = EPSILON
) -> Float64[np.ndarray, " latent"]:
    """The direction common to pairs: the first right singular vector (of norm one) of their masked targets (not
    centred), turned to the side of their mean.

    Both are `pool.token_max` of prompts, pair × latent. Raises DatasetError where there is no pair, or no target
    prompt fires a latent that its source lacks.
    """
    if sources.shape != targets.shape or not sources.shape[0]:
        raise DatasetError(
            f"{sources.shape[0]} source and {targets.shape[0]} target prompts over {sources.shape[1]} and "
            f"{targets.shape[1]} latents do not make pairs",
            "give as many source prompts as target prompts, at least one, encoded by one autoencoder",
        )
    a, b = sources.tocsr(), targets.tocsr()
    width = a.shape[1]
    rows = [
        csr_array(masked(a[[i]].toarray()[0], b[[i]].toarray()[0], percentile, epsilon).reshape(1, width))
        for i in range(a.shape[0])
    ]
    active = np.unique(np.concatenate([row.indices for row in rows]))
    if not len(active):
        raise DatasetError(
            "no target prompt fires a latent more than its source does", "give pairs that differ in the attribute"
        )
    matrix = np.concatenate([row.toarray()[:, active] for row in rows])
    first = np.linalg.svd(matrix, full_matrices=False)[2][0]
    out = np.zeros(width)
    out[active] = -first if first @ matrix.mean(axis=0) < 0 else first
    return out


def strength(progress: float, factor: float) -> float:
    """How much of the direction is added at a step: min(exp(u · s) − 1, s), with s = 15 · factor and the progress
    u = step / (steps − 1), from 0 to 1.

    A negative factor is the same strength the other way round (upstream's formula has a jump at 0 there).
    """
    limit = LIMIT * abs(factor)
    full = progress * limit >= math.log1p(limit)  # also where the exponential would overflow
    return math.copysign(limit if full else math.expm1(progress * limit), factor)


def edited(
    codes: Float[np.ndarray, "token latent"],
    chosen: Bool[np.ndarray, " token"],
    along: Float[np.ndarray, " latent"],
    amount: float,
) -> Float[np.ndarray, "token latent"]:
    """The edit, of dense codes: z ← z + f · g at the chosen tokens. Operations do the same to sparse codes and keep the
    error term, so that a factor of 0 gives the original; upstream's gives the reconstruction.
    """
    return np.where(chosen[:, None], codes + amount * along, codes)


def table(
    concept: str, along: Float[np.ndarray, " latent"], *, identity: str, hook: str, facts: dict[str, Any] | None = None
) -> LatentTable:
    """A direction as a table without a time axis: its targets are what is added at strength 1, largest first."""
    latents = np.flatnonzero(along)
    latents = latents[np.argsort(-np.abs(along[latents]), kind="stable")]
    values: Float32[np.ndarray, " latent"] = along[latents].astype(np.float32)
    entry = Entry.of(latents, None, values, along[latents])
    return LatentTable(METHOD, concept, identity, hook, (entry,), axis=None, facts=facts or {})
