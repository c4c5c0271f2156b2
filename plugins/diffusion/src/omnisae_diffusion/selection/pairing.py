"""Pairs of prompts that differ in one concept, found in a table of prompts; whether a direction holds for others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int64
from scipy.sparse import csr_array

from omnisae.errors import DatasetError
from omnisae.studies.resample import p_value
from omnisae_diffusion.selection import pairs


@dataclass(frozen=True)
class Agreement:
    """Mean cosine of a direction with those of `pairs` held-out pairs. `control` is its mean where a coin tells which
    prompt of a pair is the source, and `p` the chance that coins do as well."""

    cosine: float
    pairs: int
    control: float
    p: float


def paired(
    own: Int[np.ndarray, " row"],
    others: Int[np.ndarray, " row"],
    columns: Sequence[Sequence[str]],
    most: int,
    seed: Sequence[int],
) -> tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]]:
    """Rows of prompts without a concept (sources) and with it (targets) that agree in all `columns` (a word a row):
    drawn by chance, no prompt twice, at most so many pairs. Raises DatasetError where no two agree.
    """
    random, sources, targets = np.random.default_rng(list(seed)), [], []
    by_key: dict[tuple[str, ...], list[int]] = {}
    for row in random.permutation(others):
        by_key.setdefault(tuple(column[int(row)] for column in columns), []).append(int(row))
    for row in random.permutation(own):
        if len(targets) < most and (left := by_key.get(tuple(column[int(row)] for column in columns))):
            sources.append(left.pop())
            targets.append(int(row))
    if not targets:
        raise DatasetError(
            f"none of {len(own)} prompts with the concept has a partner among {len(others)} others with equal words in "
            f"the {len(columns)} columns that pairs must agree in",
            "name fewer columns in `match` ([]: any two prompts make a pair), or add prompts",
        )
    return np.asarray(sources, dtype=np.int64), np.asarray(targets, dtype=np.int64)


def agreement(
    along: Float[np.ndarray, " latent"],
    sources: csr_array,
    targets: csr_array,
    percentile: float = pairs.PERCENTILE,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Agreement:
    """How far held-out pairs (pair × latent, token maxima) go the direction's way: cosines with each pair's masked
    target. Control: which prompt of a pair is the source is told by a coin, anew in every draw.
    """
    forward = _cosines(along, sources, targets, percentile)
    back = _cosines(along, targets, sources, percentile)
    coins = np.random.default_rng(seed).random((draws, len(forward))) < 0.5
    null = np.where(coins, forward, back).mean(axis=1)
    # Sums of equal numbers in another order may differ in the last bit, and must count as equal.
    return Agreement(float(forward.mean()), len(forward), float(null.mean()), p_value(forward.mean() - 1e-12, null))


def _cosines(
    along: Float[np.ndarray, " latent"], sources: csr_array, targets: csr_array, percentile: float
) -> Float[np.ndarray, " pair"]:
    """0 where a target fires nothing."""
    found, norm = [], float(np.linalg.norm(along))
    for row in range(sources.shape[0]):
        one = pairs.masked(sources[[row]].toarray()[0], targets[[row]].toarray()[0], percentile)
        length = float(np.linalg.norm(one)) * norm
        found.append(float(one @ along) / length if length else 0.0)
    return np.asarray(found)
