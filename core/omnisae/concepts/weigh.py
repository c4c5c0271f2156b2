"""Mid-ranks of sparse activations: AUROC and Spearman without ever writing out the zeros.

Of n units, the ones at which a row is silent share one mid-rank. An entry's *weight* is twice its mid-rank less twice
that of the silent units (whole numbers, so sums are exact). For labels y, Σ weight · y over the entries then orders
label assignments with the same Σ y exactly as the rank sum does.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64
from numba import njit, prange

from omnisae.concepts.gather import Activations
from omnisae.concepts.stream import Truth


@dataclass(frozen=True)
class Weighed:
    """Activations over the units of which a concept is known. `silent` is twice the mid-rank of the silent units,
    `spread` is Σ (2 · mid-rank − (n + 1))² over all n units."""

    starts: Int64[np.ndarray, " row"]
    stops: Int64[np.ndarray, " row"]
    place: Int32[np.ndarray, " entry"]
    value: Float32[np.ndarray, " entry"]
    weight: Int64[np.ndarray, " entry"]
    silent: Int64[np.ndarray, " row"]
    spread: Float64[np.ndarray, " row"]


def weigh(activations: Activations, truth: Truth) -> Weighed:
    """Weights over the units of which the concept is known. The activations must be sorted by value."""
    rows, entries = len(activations.starts), len(activations.position)
    out = Weighed(
        starts=activations.starts,
        stops=np.empty(rows, dtype=np.int64),
        place=np.empty(entries, dtype=np.int32),
        value=np.empty(entries, dtype=np.float32),
        weight=np.empty(entries, dtype=np.int64),
        silent=np.empty(rows, dtype=np.int64),
        spread=np.empty(rows),
    )
    _weigh(
        activations.starts,
        activations.stops,
        activations.position,
        activations.value,
        truth.place,
        truth.n,
        out.stops,
        out.place,
        out.value,
        out.weight,
        out.silent,
        out.spread,
    )
    return out


def spearman(weighed: Weighed, values: Float64[np.ndarray, " known"]) -> Float64[np.ndarray, " row"]:
    """Spearman's rank correlation of each row with the values (Pearson's of mid-ranks); NaN where one is constant."""
    ranks = centred_ranks(values)
    sums = rank_sums(weighed, ranks)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: Float64[np.ndarray, " row"] = sums / np.sqrt(weighed.spread * float(ranks @ ranks))
    return np.where(np.isfinite(rho), np.clip(rho, -1.0, 1.0), np.nan)


def centred_ranks(values: Float64[np.ndarray, " known"]) -> Float64[np.ndarray, " known"]:
    """Twice the mid-rank, less its mean: whole numbers that sum to zero."""
    from scipy.stats import rankdata

    return np.asarray(2.0 * rankdata(values) - (len(values) + 1))


def rank_sums(weighed: Weighed, ranks: Float64[np.ndarray, " known"]) -> Float64[np.ndarray, " row"]:
    """Σ weight · rank of each row."""
    out = np.empty(len(weighed.starts))
    _rank_sums(weighed.starts, weighed.stops, weighed.place, weighed.weight, ranks, out)
    return out


@njit(parallel=True, cache=True)
def _sort(
    starts: Int64[np.ndarray, " row"],
    stops: Int64[np.ndarray, " row"],
    position: Int32[np.ndarray, " entry"],
    value: Float32[np.ndarray, " entry"],
) -> None:
    for row in prange(starts.shape[0]):
        start, stop = starts[row], stops[row]
        order = np.argsort(value[start:stop])
        value[start:stop] = value[start:stop][order]
        position[start:stop] = position[start:stop][order]


def sort(activations: Activations) -> Activations:
    """The activations of each row sorted by value, in place."""
    _sort(activations.starts, activations.stops, activations.position, activations.value)
    return activations


@njit(parallel=True, cache=True)
def _weigh(
    starts: Int64[np.ndarray, " row"],
    stops: Int64[np.ndarray, " row"],
    position: Int32[np.ndarray, " entry"],
    value: Float32[np.ndarray, " entry"],
    place: Int32[np.ndarray, " position"],
    n: int,
    out_stops: Int64[np.ndarray, " row"],
    out_place: Int32[np.ndarray, " entry"],
    out_value: Float32[np.ndarray, " entry"],
    out_weight: Int64[np.ndarray, " entry"],
    silent: Int64[np.ndarray, " row"],
    spread: Float64[np.ndarray, " row"],
) -> None:
    for row in prange(starts.shape[0]):
        at, below = starts[row], 0
        for entry in range(starts[row], stops[row]):
            where = place[position[entry]]
            if where >= 0:
                out_place[at] = where
                out_value[at] = value[entry]
                below += value[entry] < 0
                at += 1
        out_stops[row] = at
        zeros = n - (at - starts[row])
        silent[row] = 2 * below + zeros + 1
        centre = float(silent[row] - (n + 1))
        total = zeros * centre * centre
        entry, rank = starts[row], 0  # rank: units below the entry
        while entry < at:
            if out_value[entry] > 0 and rank == below:
                rank += zeros
            tied = entry
            while tied < at and out_value[tied] == out_value[entry]:
                tied += 1
            double = 2 * rank + (tied - entry) + 1
            centre = float(double - (n + 1))
            total += (tied - entry) * centre * centre
            rank += tied - entry
            for i in range(entry, tied):
                out_weight[i] = double - silent[row]
            entry = tied
        spread[row] = total


@njit(parallel=True, cache=True)
def _rank_sums(
    starts: Int64[np.ndarray, " row"],
    stops: Int64[np.ndarray, " row"],
    place: Int32[np.ndarray, " entry"],
    weight: Int64[np.ndarray, " entry"],
    ranks: Float64[np.ndarray, " known"],
    out: Float64[np.ndarray, " row"],
) -> None:
    for row in prange(starts.shape[0]):
        total = 0.0
        for entry in range(starts[row], stops[row]):
            total += weight[entry] * ranks[place[entry]]
        out[row] = total
