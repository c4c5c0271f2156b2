"""p-values from permuted labels.

The labels of a stream are permuted by blocks (examples, or groups of them): the order of the blocks is shuffled and
the labels are laid over the stream again. Blocks of one size trade their label maps; ragged ones shift as well. What a
latent does within an example, and how labels hang together within one, both stay as they are.

The statistic is the rank sum (AUROC's for classes, Spearman's for fractions), in the direction chosen on SELECT. With
N permutations, g of which beat the observed value (ties broken by a seeded coin) and U a seeded uniform number,

    p = (g + U) / (N + 1),

exactly uniform where labels mean nothing. Permuting ends early after h = 20 exceedances at permutation l (Besag &
Clifford 1991, Sequential Monte Carlo p-values), with p = h/(l+1) + U·(h/l − h/(l+1)), which keeps it exactly uniform.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt64
from numba import njit, prange

from omnisae.concepts.stream import Truth
from omnisae.concepts.weigh import Weighed, centred_ranks

LANES = 64
RANK_LANES = 16
ENOUGH = 20
"""Exceedances after which a p-value is known well enough."""
_BUDGET = 1 << 28
"""Numbers kept of the shuffles at most: 1 GiB."""


class Shuffles:
    """Shuffled orders of blocks: where each block begins in each permutation. The same for everyone who asks."""

    def __init__(self, blocks: Int64[np.ndarray, " block+1"], permutations: int, seed: int) -> None:
        self.permutations = permutations
        self._blocks, self._seed = blocks, seed
        small = permutations * (len(blocks) - 1) <= _BUDGET
        self._kept = self._make(0, permutations) if small else None

    def starts(self, first: int, stop: int) -> Int32[np.ndarray, "permutation block"]:
        """The new start of every block in permutations `first` ≤ i < `stop`."""
        stop = min(stop, self.permutations)
        return self._make(first, stop) if self._kept is None else self._kept[first:stop]

    def _make(self, first: int, stop: int) -> Int32[np.ndarray, "permutation block"]:
        out = np.empty((stop - first, len(self._blocks) - 1), dtype=np.int32)
        _shuffle(self._blocks, np.uint64(self._seed), first, out)
        return out


@dataclass
class _State:
    """How far each row has come."""

    exceeded: Int64[np.ndarray, " row"]
    drawn: Int64[np.ndarray, " row"]

    @property
    def alive(self) -> np.ndarray:
        return self.exceeded < ENOUGH


def class_p_values(
    weighed: Weighed,
    truth: Truth,
    observed: Int64[np.ndarray, " row"],
    keys: UInt64[np.ndarray, " row"],
    shuffles: Shuffles,
) -> Float64[np.ndarray, " row"]:
    """p-values of the rank sums over positive units. `observed` are the rows' Σ weight over positives, `keys` seed the
    coins of each row.

    64 permutations at a time are laid as the bits of one word per unit, so that an entry is looked up once for all.
    """
    state = _State(np.zeros(len(observed), dtype=np.int64), np.zeros(len(observed), dtype=np.int64))
    flip = len(truth.positives) * 2 > truth.n  # fewer bits to set: the negatives
    marked = np.flatnonzero(truth.mark == 0) if flip else truth.positives
    block = (np.searchsorted(truth.blocks, marked, side="right") - 1).astype(np.int64)
    within = marked - truth.blocks[block]
    first, planes = 0, 1
    while first < shuffles.permutations and state.alive.any():
        starts = shuffles.starts(first, first + planes * LANES)
        laid = _lay(block, within, starts, truth.n)
        rows = np.flatnonzero(state.alive)
        _exceed(
            rows,
            weighed.starts,
            weighed.stops,
            weighed.place,
            weighed.weight,
            laid,
            len(starts),
            flip,
            observed,
            keys,
            first,
            state.exceeded,
            state.drawn,
        )
        first += len(starts)
        planes = 4
    return p_values(state.exceeded, state.drawn, keys)


def rank_p_values(
    weighed: Weighed,
    truth: Truth,
    sign: Float64[np.ndarray, " row"],
    keys: UInt64[np.ndarray, " row"],
    shuffles: Shuffles,
) -> Float64[np.ndarray, " row"]:
    """p-values of Spearman's correlation with a fraction, one-sided in the direction of `sign`."""
    if truth.values is None:
        raise ValueError("this concept is a class: use class_p_values")
    ranks = centred_ranks(truth.values)
    rows = len(weighed.starts)
    state = _State(np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64))
    # laid like the permuted ones, and summed by the same code, so that equal arrangements give equal sums
    whole = np.empty((truth.n, RANK_LANES))
    _lay_ranks(truth.blocks, truth.blocks[None, :-1].astype(np.int32), ranks, whole)
    observed = np.zeros(rows)
    _rank_exceed(
        np.arange(rows), weighed.starts, weighed.stops, weighed.place, weighed.weight, whole, 0, sign, observed, keys,
        0, state.exceeded, state.drawn,
    )  # fmt: skip
    first = 0
    while first < shuffles.permutations and state.alive.any():
        starts = shuffles.starts(first, first + RANK_LANES)
        _lay_ranks(truth.blocks, starts, ranks, whole)
        _rank_exceed(
            np.flatnonzero(state.alive), weighed.starts, weighed.stops, weighed.place, weighed.weight, whole,
            len(starts), sign, observed, keys, first, state.exceeded, state.drawn,
        )  # fmt: skip
        first += len(starts)
    return p_values(state.exceeded, state.drawn, keys)


def p_values(
    exceeded: Int64[np.ndarray, " row"], drawn: Int64[np.ndarray, " row"], keys: UInt64[np.ndarray, " row"]
) -> Float64[np.ndarray, " row"]:
    """p from the number of exceedances among the permutations drawn; see the module's text."""
    coin = np.array([_uniform(key, np.uint64(2**63)) for key in keys])
    done = exceeded >= ENOUGH
    last = np.maximum(drawn, 1)
    low = np.where(done, ENOUGH / (last + 1.0), exceeded / (drawn + 1.0))
    high = np.where(done, ENOUGH / last, (exceeded + 1) / (drawn + 1.0))
    return np.asarray(low + coin * (high - low))


def _lay(
    block: Int64[np.ndarray, " marked"],
    within: Int64[np.ndarray, " marked"],
    starts: Int32[np.ndarray, "permutation block"],
    n: int,
) -> UInt64[np.ndarray, "plane known"]:
    laid = np.empty((-(-len(starts) // LANES), n), dtype=np.uint64)
    _lay_bits(block, within, starts, laid)
    return laid


@njit(cache=True)
def _mix(x: UInt64) -> UInt64:  # type: ignore[valid-type]
    """splitmix64 (Steele, Lea & Flood 2014): a counter becomes a random word."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True)
def _uniform(key: UInt64, counter: UInt64) -> float:  # type: ignore[valid-type]
    """A number in [0, 1), always the same for one key and counter."""
    word = _mix(_mix(key) ^ _mix(counter))
    return float(word >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(parallel=True, cache=True)
def _shuffle(
    blocks: Int64[np.ndarray, " block+1"],
    seed: UInt64,  # type: ignore[valid-type]
    first: int,
    out: Int32[np.ndarray, "permutation block"],
) -> None:
    n = blocks.shape[0] - 1
    for lane in prange(out.shape[0]):
        order = np.arange(n)
        state = _mix(_mix(seed) ^ _mix(np.uint64(first + lane)))
        for i in range(n - 1, 0, -1):  # Fisher–Yates; the bias of the reduction is below 2⁻³²
            state = state + np.uint64(1)
            j = np.int64(((_mix(state) >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32))
            order[i], order[j] = order[j], order[i]
        at = 0
        for i in range(n):
            out[lane, order[i]] = at
            at += blocks[order[i] + 1] - blocks[order[i]]


@njit(parallel=True, cache=True)
def _lay_bits(
    block: Int64[np.ndarray, " marked"],
    within: Int64[np.ndarray, " marked"],
    starts: Int32[np.ndarray, "permutation block"],
    laid: UInt64[np.ndarray, "plane known"],
) -> None:
    for plane in prange(laid.shape[0]):
        laid[plane, :] = 0
        for lane in range(plane * 64, min(starts.shape[0], plane * 64 + 64)):
            bit = np.uint64(1) << np.uint64(lane - plane * 64)
            for i in range(block.shape[0]):
                laid[plane, starts[lane, block[i]] + within[i]] |= bit


_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_WHICH = np.zeros(64, dtype=np.int64)
for _bit in range(64):
    _WHICH[((int(_DE_BRUIJN) << _bit) & (2**64 - 1)) >> 58] = _bit


@njit(parallel=True, cache=True)
def _exceed(
    rows: Int64[np.ndarray, " alive"],
    starts: Int64[np.ndarray, " row"],
    stops: Int64[np.ndarray, " row"],
    place: Int32[np.ndarray, " entry"],
    weight: Int64[np.ndarray, " entry"],
    laid: UInt64[np.ndarray, "plane known"],
    lanes: int,
    flip: bool,
    observed: Int64[np.ndarray, " row"],
    keys: UInt64[np.ndarray, " row"],
    first: int,
    exceeded: Int64[np.ndarray, " row"],
    drawn: Int64[np.ndarray, " row"],
) -> None:
    for i in prange(rows.shape[0]):
        row = rows[i]
        total = 0
        if flip:
            for entry in range(starts[row], stops[row]):
                total += weight[entry]
        coin = _uniform(keys[row], np.uint64(0))
        sums = np.empty(64, dtype=np.int64)
        for plane in range(laid.shape[0]):
            if exceeded[row] >= 20:
                break
            sums[:] = 0
            for entry in range(starts[row], stops[row]):
                bits = laid[plane, place[entry]]
                while bits != 0:
                    low = bits & (~bits + np.uint64(1))
                    sums[_WHICH[(low * _DE_BRUIJN) >> np.uint64(58)]] += weight[entry]
                    bits ^= low
            for lane in range(min(64, lanes - plane * 64)):
                found = total - sums[lane] if flip else sums[lane]
                number = np.uint64(first + plane * 64 + lane + 1)
                drawn[row] += 1
                if found > observed[row] or (found == observed[row] and _uniform(keys[row], number) > coin):
                    exceeded[row] += 1
                    if exceeded[row] >= 20:
                        break


@njit(parallel=True, cache=True)
def _lay_ranks(
    blocks: Int64[np.ndarray, " block+1"],
    starts: Int32[np.ndarray, "permutation block"],
    ranks: Float64[np.ndarray, " known"],
    out: Float64[np.ndarray, "known lane"],
) -> None:
    for lane in prange(starts.shape[0]):
        for b in range(starts.shape[1]):
            for i in range(blocks[b + 1] - blocks[b]):
                out[starts[lane, b] + i, lane] = ranks[blocks[b] + i]


@njit(parallel=True, cache=True)
def _rank_exceed(
    rows: Int64[np.ndarray, " alive"],
    starts: Int64[np.ndarray, " row"],
    stops: Int64[np.ndarray, " row"],
    place: Int32[np.ndarray, " entry"],
    weight: Int64[np.ndarray, " entry"],
    laid: Float64[np.ndarray, "known lane"],
    lanes: int,
    sign: Float64[np.ndarray, " row"],
    observed: Float64[np.ndarray, " row"],
    keys: UInt64[np.ndarray, " row"],
    first: int,
    exceeded: Int64[np.ndarray, " row"],
    drawn: Int64[np.ndarray, " row"],
) -> None:
    """With no lanes, the first one is taken for the labels as they are, and the observed sums are written."""
    for i in prange(rows.shape[0]):
        row = rows[i]
        sums = np.zeros(16)
        for entry in range(starts[row], stops[row]):
            for lane in range(16):
                sums[lane] += weight[entry] * laid[place[entry], lane]
        if lanes == 0:
            observed[row] = sign[row] * sums[0]
            continue
        coin = _uniform(keys[row], np.uint64(0))
        for lane in range(lanes):
            found = sign[row] * sums[lane]
            drawn[row] += 1
            number = np.uint64(first + lane + 1)
            if found > observed[row] or (found == observed[row] and _uniform(keys[row], number) > coin):
                exceeded[row] += 1
                if exceeded[row] >= 20:
                    break
