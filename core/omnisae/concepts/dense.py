"""Counting dense units (neurons, components, directions) against concepts: streamed, never a token × unit matrix."""

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64
from numba import njit, prange

from omnisae.concepts.stream import Stream


class DenseCounts:
    """Predictions and hits of `slots` units for every concept of a stream, by threshold; fed batch by batch."""

    def __init__(self, stream: Stream, ceilings: Float32[np.ndarray, " slot"], thresholds: Float64[np.ndarray, " t"]):
        concepts, levels = len(stream.labels.concepts), len(thresholds)
        self._stream, self._thresholds = stream, thresholds
        self._ceilings = ceilings.astype(np.float64)
        self.hits = np.zeros((concepts, len(ceilings), levels + 1), dtype=np.int32)
        self.hidden = np.zeros_like(self.hits) if len(stream.unknown_concept) else np.zeros((0, 0, 0), dtype=np.int32)
        self.predicted = np.zeros((len(ceilings), levels + 1), dtype=np.int32)

    def add(self, values: Float32[np.ndarray, "unit slot"], units: Int64[np.ndarray, " unit"]) -> None:
        """Activations of some units of the level; those outside the stream are passed over."""
        s = self._stream
        _count(
            np.ascontiguousarray(values),
            s.position[units],
            self._ceilings,
            s.offsets,
            s.concept,
            s.unknown_offsets,
            s.unknown_concept,
            self._thresholds,
            self.hits,
            self.hidden,
            self.predicted,
        )

    def tables(self) -> tuple[Int64[np.ndarray, "concept slot t"], Int64[np.ndarray, "concept slot t"]]:
        """Hits and predictions at every threshold."""
        hits = _above(self.hits)
        predicted = np.broadcast_to(_above(self.predicted)[None], hits.shape)
        return hits, predicted - _above(self.hidden) if self.hidden.size else predicted


def _above(bins: Int32[np.ndarray, "... bin"]) -> Int64[np.ndarray, "... t"]:
    """From "exceeds exactly the first b thresholds" to "exceeds threshold t"."""
    return bins[..., :0:-1].astype(np.int64).cumsum(axis=-1)[..., ::-1]


@njit(parallel=True, cache=True)
def _count(
    values: Float32[np.ndarray, "unit slot"],
    position: Int32[np.ndarray, " unit"],
    ceilings: Float64[np.ndarray, " slot"],
    offsets: Int64[np.ndarray, " position+1"],
    concept: Int32[np.ndarray, " pair"],
    unknown_offsets: Int64[np.ndarray, " position+1"],
    unknown_concept: Int32[np.ndarray, " unknown"],
    thresholds: Float64[np.ndarray, " t"],
    hits: Int32[np.ndarray, "concept slot bin"],
    hidden: Int32[np.ndarray, "concept slot bin"],
    predicted: Int32[np.ndarray, "slot bin"],
) -> None:
    slots, levels, width = values.shape[1], thresholds.shape[0], 64
    for block in prange((slots + width - 1) // width):
        low, high = block * width, min(slots, block * width + width)
        fired = np.empty(width, dtype=np.int64)
        passed = np.empty(width, dtype=np.int64)
        for unit in range(position.shape[0]):
            at = position[unit]
            if at < 0:
                continue
            count = 0
            for slot in range(low, high):
                ratio = 0.0
                if values[unit, slot] > 0 and ceilings[slot] > 0:
                    ratio = values[unit, slot] / ceilings[slot]
                if ratio > thresholds[0]:
                    b = 1
                    while b < levels and ratio > thresholds[b]:
                        b += 1
                    fired[count], passed[count] = slot, b
                    count += 1
                    predicted[slot, b] += 1
            last = -1
            for pair in range(offsets[at], offsets[at + 1]):
                c = concept[pair]
                if c != last:
                    last = c
                    for i in range(count):
                        hits[c, fired[i], passed[i]] += 1
            for pair in range(unknown_offsets[at], unknown_offsets[at + 1]):
                for i in range(count):
                    hidden[unknown_concept[pair], fired[i], passed[i]] += 1
