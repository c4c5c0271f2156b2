"""Judging on the TEST examples: counts at the chosen threshold, instances touched, and rank sums, for one concept."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64
from numba import njit, prange

from omnisae.concepts.stream import Truth
from omnisae.concepts.weigh import Weighed


@dataclass(frozen=True)
class Counts:
    """Whole numbers from which every metric of F1's family follows; one entry a row.

    `hits` are true positives, `predicted` the units above the threshold, `positives` and `n` the concept's positive and
    known units, `touched` the instances with a unit above the threshold out of `instances`, `rank_sum` twice the sum of
    the positives' mid-ranks, `weight_sum` the part of it that the entries' weights make.
    """

    hits: Int64[np.ndarray, " row"]
    predicted: Int64[np.ndarray, " row"]
    touched: Int64[np.ndarray, " row"]
    weight_sum: Int64[np.ndarray, " row"]
    rank_sum: Int64[np.ndarray, " row"]
    positives: int
    instances: int
    n: int


def judge(
    weighed: Weighed,
    truth: Truth,
    thresholds: Float64[np.ndarray, " row"],
    ceilings: Float32[np.ndarray, " row"],
) -> Counts:
    """Counts of each row for one concept, at the row's own threshold on activation / ceiling."""
    rows = len(weighed.starts)
    hits, predicted, touched, weight_sum = (np.zeros(rows, dtype=np.int64) for _ in range(4))
    _judge(
        weighed.starts,
        weighed.stops,
        weighed.place,
        weighed.value,
        weighed.weight,
        thresholds,
        ceilings.astype(np.float64),
        truth.mark,
        truth.instance_offsets,
        truth.instance,
        truth.instances,
        hits,
        predicted,
        touched,
        weight_sum,
    )
    positives = len(truth.positives)
    rank_sum = weight_sum + weighed.silent * positives
    return Counts(hits, predicted, touched, weight_sum, rank_sum, positives, truth.instances, truth.n)


@njit(parallel=True, cache=True)
def _judge(
    starts: Int64[np.ndarray, " row"],
    stops: Int64[np.ndarray, " row"],
    place: Int32[np.ndarray, " entry"],
    value: Float32[np.ndarray, " entry"],
    weight: Int64[np.ndarray, " entry"],
    thresholds: Float64[np.ndarray, " row"],
    ceilings: Float64[np.ndarray, " row"],
    mark: Int32[np.ndarray, " known"],
    instance_offsets: Int64[np.ndarray, " positive+1"],
    instance: Int32[np.ndarray, " pair"],
    instances: int,
    hits: Int64[np.ndarray, " row"],
    predicted: Int64[np.ndarray, " row"],
    touched: Int64[np.ndarray, " row"],
    weight_sum: Int64[np.ndarray, " row"],
) -> None:
    for row in prange(starts.shape[0]):
        seen = np.zeros(instances, dtype=np.bool_)
        for entry in range(starts[row], stops[row]):
            positive = mark[place[entry]]
            above = value[entry] / ceilings[row] > thresholds[row]
            predicted[row] += above
            if positive > 0:
                weight_sum[row] += weight[entry]
                if above:
                    hits[row] += 1
                    for pair in range(instance_offsets[positive - 1], instance_offsets[positive]):
                        if not seen[instance[pair]]:
                            seen[instance[pair]] = True
                            touched[row] += 1
