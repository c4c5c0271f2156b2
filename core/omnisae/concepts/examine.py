"""Examining the picked rows on the TEST examples: counts, correlations and p-values, concept by concept."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt64

from omnisae.concepts.gather import chunks, gather
from omnisae.concepts.judge import judge
from omnisae.concepts.level import Level
from omnisae.concepts.permute import Shuffles, class_p_values, rank_p_values
from omnisae.concepts.pick import Picks
from omnisae.concepts.stream import Truth
from omnisae.concepts.weigh import sort, spearman, weigh
from omnisae.postings.postings import Postings

COUNTS = ("hits", "predicted", "positives", "n", "touched", "instances", "rank_sum", "spearman")


@dataclass(frozen=True)
class Examined:
    """One number a row: the counts that Evidence describes, and the p-values."""

    counts: dict[str, Float64[np.ndarray, " row"]]
    p: Float64[np.ndarray, " row"]


def examine(
    postings: Postings,
    level: Level,
    picks: Picks,
    *,
    permutations: int,
    seed: int,
    observe: Callable[[int, int], None] = lambda done, of: None,
) -> Examined:
    """Every row's counts on TEST, and its p-value from `permutations` permuted label streams.

    `observe` is told how many concepts are done.
    """
    out = Examined({name: np.full(len(picks), np.nan) for name in COUNTS}, np.full(len(picks), np.nan))
    shuffles = _Kept(permutations, seed)
    numbers = np.unique(picks.number).tolist()
    for done, number in enumerate(numbers):
        truth = level.test.truth(number)
        mine = np.flatnonzero(picks.number == number)
        shuffle = shuffles.of(truth)
        for part in chunks(postings, picks.latent[mine]):
            _examine(postings, level, picks, number, mine[part], truth, shuffle, seed, out)
        observe(done + 1, len(numbers))
    return out


def _examine(
    postings: Postings,
    level: Level,
    picks: Picks,
    number: int,
    rows: Int64[np.ndarray, " row"],
    truth: Truth,
    shuffles: Shuffles,
    seed: int,
    out: Examined,
) -> None:
    latents = picks.latent[rows]
    weighed = weigh(sort(gather(postings, level.test, latents)), truth)
    keys = row_keys(seed, level.concept(number).name, latents)
    if truth.values is not None:
        out.counts["n"][rows] = truth.n
        rho = spearman(weighed, truth.values)
        out.counts["spearman"][rows] = rho
        out.p[rows] = np.where(np.isnan(rho), np.nan, rank_p_values(weighed, truth, picks.sign[rows], keys, shuffles))
        return
    counts = judge(weighed, truth, picks.threshold[rows], postings.maxima_select[latents])
    found = {
        "hits": counts.hits,
        "predicted": counts.predicted,
        "positives": counts.positives,
        "n": counts.n,
        "touched": counts.touched,
        "instances": counts.instances,
        "rank_sum": counts.rank_sum / 2,
    }
    for name, values in found.items():
        out.counts[name][rows] = values
    out.p[rows] = class_p_values(weighed, truth, counts.weight_sum, keys, shuffles)


def row_keys(seed: int, concept: str, latents: Int64[np.ndarray, " row"]) -> UInt64[np.ndarray, " row"]:
    """The seed of each row's coins: it depends on nothing but the seed, the concept's name and the latent."""
    name = hashlib.blake2b(f"{seed}:{concept}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(name, "little")) ^ (latents.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


class _Kept:
    """The shuffles of the last stream of blocks: most concepts of a level share one."""

    def __init__(self, permutations: int, seed: int) -> None:
        self._permutations, self._seed = permutations, seed
        self._blocks: Int64[np.ndarray, " block+1"] | None = None
        self._last: Shuffles | None = None

    def of(self, truth: Truth) -> Shuffles:
        if self._last is None or self._blocks is None or not np.array_equal(self._blocks, truth.blocks):
            self._last = None  # let go of the old ones before the new ones are made
            self._blocks = truth.blocks
            self._last = Shuffles(truth.blocks, self._permutations, self._seed)
        return self._last
