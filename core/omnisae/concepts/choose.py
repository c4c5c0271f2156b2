"""Choosing on the SELECT examples: for every pair of latent and concept, the threshold with the best F1."""

import numpy as np
from jaxtyping import Float32, Float64, Int16, Int32, Int64
from numba import njit, prange

from omnisae.concepts.gather import Activations
from omnisae.concepts.stream import Stream


def best_f1(
    activations: Activations,
    stream: Stream,
    ceilings: Float32[np.ndarray, " row"],
    thresholds: Float64[np.ndarray, " threshold"],
    positives: Int64[np.ndarray, " concept"],
) -> tuple[Float64[np.ndarray, "row concept"], Int16[np.ndarray, "row concept"]]:
    """The best F1 of each row for each concept, and the number of its threshold (the lowest of equals).

    A unit is predicted positive where activation / ceiling > threshold, strictly. One pass over the activations counts,
    per row, predictions and hits by concept and threshold. −1 where a row never exceeds zero.
    """
    shape = (len(activations.starts), len(stream.labels.concepts))
    f1, bins = np.empty(shape), np.empty(shape, dtype=np.int16)
    _best_f1(
        activations.starts,
        activations.stops,
        activations.position,
        activations.value,
        ceilings.astype(np.float64),
        stream.offsets,
        stream.concept,
        stream.unknown_offsets,
        stream.unknown_concept,
        positives,
        thresholds,
        f1,
        bins,
    )
    return f1, bins


@njit(parallel=True, cache=True)
def _best_f1(
    starts: Int64[np.ndarray, " row"],
    stops: Int64[np.ndarray, " row"],
    position: Int32[np.ndarray, " entry"],
    value: Float32[np.ndarray, " entry"],
    ceilings: Float64[np.ndarray, " row"],
    offsets: Int64[np.ndarray, " position+1"],
    concept: Int32[np.ndarray, " pair"],
    unknown_offsets: Int64[np.ndarray, " position+1"],
    unknown_concept: Int32[np.ndarray, " unknown"],
    positives: Int64[np.ndarray, " concept"],
    thresholds: Float64[np.ndarray, " threshold"],
    out_f1: Float64[np.ndarray, "row concept"],
    out_bin: Int16[np.ndarray, "row concept"],
) -> None:
    concepts, levels = positives.shape[0], thresholds.shape[0]
    for row in prange(starts.shape[0]):
        for c in range(concepts):
            out_f1[row, c] = -1.0
            out_bin[row, c] = 0
        if ceilings[row] <= 0:
            continue
        # hits[c, b] counts units whose activation exceeds exactly the first b thresholds
        hits = np.zeros((concepts, levels + 1), dtype=np.int64)
        hidden = np.zeros((concepts, levels + 1), dtype=np.int64)
        predicted = np.zeros(levels + 1, dtype=np.int64)
        for entry in range(starts[row], stops[row]):
            ratio = value[entry] / ceilings[row]
            passed = 0
            while passed < levels and ratio > thresholds[passed]:
                passed += 1
            if passed == 0:
                continue
            predicted[passed] += 1
            at = position[entry]
            last = -1
            for pair in range(offsets[at], offsets[at + 1]):
                if concept[pair] != last:  # two instances at one unit are one hit
                    last = concept[pair]
                    hits[last, passed] += 1
            for pair in range(unknown_offsets[at], unknown_offsets[at + 1]):
                hidden[unknown_concept[pair], passed] += 1
        for c in range(concepts):
            hit, shown = 0, 0
            best, best_bin = -1.0, 0
            for passed in range(levels, 0, -1):
                hit += hits[c, passed]
                shown += predicted[passed] - hidden[c, passed]
                if shown + positives[c] > 0:
                    f1 = 2.0 * hit / (shown + positives[c])
                    if f1 >= best:
                        best, best_bin = f1, passed - 1
            out_f1[row, c] = best
            out_bin[row, c] = best_bin
