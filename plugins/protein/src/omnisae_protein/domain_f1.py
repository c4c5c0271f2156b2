"""Counting for InterPLM's domain F1: of all latents and concepts at once, out of sparse activations.

precision = residues of the concept among those above the threshold; recall = instances with one residue above it at
least, of all instances (of residues, where the concept is one of single residues). F1 is their harmonic mean (Simon &
Zou 2024). Where InterPLM divides by a dead feature's maximum, a silent latent has F1 0 here.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64
from numba import njit, prange

from omnisae.concepts.gather import Activations
from omnisae.concepts.stream import Stream


@dataclass(frozen=True)
class Instances:
    """The instances of a stream's concepts: of every labelled pair, and how many each concept has. `positives` are the
    concepts' residues."""

    of_pair: Int32[np.ndarray, " pair"]
    concept: Int32[np.ndarray, " instance"]
    count: Int64[np.ndarray, " concept"]
    positives: Int64[np.ndarray, " concept"]


def instances(stream: Stream) -> Instances:
    """The instances of a stream, numbered from 0."""
    names, of_pair = np.unique(stream.instance, return_inverse=True)
    concept = np.zeros(len(names), dtype=np.int32)
    concept[of_pair] = stream.concept
    concepts = len(stream.labels.concepts)
    count = np.bincount(concept, minlength=concepts).astype(np.int64)
    return Instances(of_pair.astype(np.int32), concept, count, stream.positives())


def domain_f1(
    activations: Activations,
    ceilings: Float32[np.ndarray, " row"],
    stream: Stream,
    held: Instances,
    thresholds: Float64[np.ndarray, " t"],
    by_residue: Bool[np.ndarray, " concept"],
) -> Float32[np.ndarray, "row concept t"]:
    """The F1 of each row with each concept above each threshold (ascending, on activation / ceiling); 0 where the row
    never fires. `by_residue` are the concepts whose recall is of residues."""
    rows, concepts = len(activations.starts), len(held.count)
    out = np.zeros((rows, concepts, len(thresholds)), dtype=np.float32)
    _count(
        activations.starts,
        activations.stops,
        activations.position,
        activations.value,
        ceilings.astype(np.float64),
        stream.offsets,
        stream.concept,
        held.of_pair,
        held.concept,
        stream.unknown_offsets,
        stream.unknown_concept,
        thresholds,
        held.positives,
        held.count,
        by_residue,
        out,
    )
    return out


@njit(parallel=True, cache=True)
def _count(
    starts: Int64[np.ndarray, " row"],
    stops: Int64[np.ndarray, " row"],
    position: Int32[np.ndarray, " entry"],
    value: Float32[np.ndarray, " entry"],
    ceilings: Float64[np.ndarray, " row"],
    offsets: Int64[np.ndarray, " position+1"],
    concept: Int32[np.ndarray, " pair"],
    of_pair: Int32[np.ndarray, " pair"],
    concept_of: Int32[np.ndarray, " instance"],
    unknown_offsets: Int64[np.ndarray, " position+1"],
    unknown_concept: Int32[np.ndarray, " unknown"],
    thresholds: Float64[np.ndarray, " t"],
    positives: Int64[np.ndarray, " concept"],
    count: Int64[np.ndarray, " concept"],
    by_residue: Bool[np.ndarray, " concept"],
    out: Float32[np.ndarray, "row concept t"],
) -> None:
    concepts, levels = positives.shape[0], thresholds.shape[0]
    for row in prange(starts.shape[0]):
        if ceilings[row] <= 0:
            continue
        # Bin b of hits and predictions: units above exactly the first b thresholds.
        hits = np.zeros((concepts, levels + 1), dtype=np.int64)
        hidden = np.zeros((concepts, levels + 1), dtype=np.int64)
        predicted = np.zeros(levels + 1, dtype=np.int64)
        touched = np.zeros((concepts, levels + 1), dtype=np.int64)
        reached = np.zeros(concept_of.shape[0], dtype=np.int8)
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
                if concept[pair] != last:
                    last = concept[pair]
                    hits[last, passed] += 1
                one = of_pair[pair]
                if passed > reached[one]:
                    if reached[one] > 0:
                        touched[concept[pair], reached[one]] -= 1
                    touched[concept[pair], passed] += 1
                    reached[one] = passed
            for pair in range(unknown_offsets[at], unknown_offsets[at + 1]):
                hidden[unknown_concept[pair], passed] += 1
        for c in range(concepts):
            hit, shown, found = 0, 0, 0
            for passed in range(levels, 0, -1):
                hit += hits[c, passed]
                shown += predicted[passed] - hidden[c, passed]
                found += touched[c, passed]
                if hit > 0:
                    precision = hit / shown
                    recall = hit / positives[c] if by_residue[c] else found / count[c]
                    out[row, c, passed - 1] = 2 * precision * recall / (precision + recall)
