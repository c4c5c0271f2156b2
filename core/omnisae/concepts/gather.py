"""Activations of chosen latents over a stream, out of the posting lists: sparse, and pooled to the stream's units."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64
from numba import njit, prange

from omnisae.concepts.stream import Stream
from omnisae.postings.postings import Postings

CHUNK = 1 << 23
"""Posting entries looked at in one go: what bounds the memory of scoring."""


@dataclass(frozen=True)
class Activations:
    """Row r is silent but at `position[starts[r]:stops[r]]`, where it has `value`."""

    starts: Int64[np.ndarray, " row"]
    stops: Int64[np.ndarray, " row"]
    position: Int32[np.ndarray, " entry"]
    value: Float32[np.ndarray, " entry"]


def gather(postings: Postings, stream: Stream, latents: Int[np.ndarray, " row"]) -> Activations:
    """The activations of latents at the units of a stream; a unit of several tokens takes its largest."""
    latents = latents.astype(np.int64)
    edges = np.r_[0, np.cumsum(postings.offsets[latents + 1] - postings.offsets[latents])].astype(np.int64)
    position = np.empty(edges[-1], dtype=np.int32)
    value = np.empty(edges[-1], dtype=np.float32)
    stops = np.empty(len(latents), dtype=np.int64)
    labels = stream.labels
    _gather(
        latents,
        postings.offsets,
        postings.token,
        postings.value,
        labels.unit_of_token,
        labels.tokens_in_unit,
        stream.position,
        edges,
        position,
        value,
        stops,
    )
    return Activations(edges[:-1].copy(), stops, position, value)


def chunks(
    postings: Postings, latents: Int[np.ndarray, " row"], *, entries: int = CHUNK, rows: int = 1 << 30
) -> Iterator[slice]:
    """Runs of at most `rows` latents with at most `entries` posting entries, or of a single latent."""
    ends = np.cumsum(postings.counts[latents])
    start = 0
    while start < len(ends):
        held = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, held + entries, side="right"))
        stop = min(max(stop, start + 1), start + rows, len(ends))
        yield slice(start, stop)
        start = stop


@njit(parallel=True, cache=True)
def _gather(
    latents: Int64[np.ndarray, " row"],
    offsets: Int64[np.ndarray, " latent+1"],
    token: Int[np.ndarray, " all"],
    value: Float32[np.ndarray, " all"],
    unit_of_token: Int32[np.ndarray, " token"],
    tokens_in_unit: Int32[np.ndarray, " unit"],
    position: Int32[np.ndarray, " unit"],
    edges: Int64[np.ndarray, " row+1"],
    out_position: Int32[np.ndarray, " entry"],
    out_value: Float32[np.ndarray, " entry"],
    stops: Int64[np.ndarray, " row"],
) -> None:
    for row in prange(latents.shape[0]):
        entry, end, at = offsets[latents[row]], offsets[latents[row] + 1], edges[row]
        while entry < end:
            unit, largest, tokens = unit_of_token[token[entry]], value[entry], 1
            entry += 1
            while entry < end and unit_of_token[token[entry]] == unit:
                largest = max(largest, value[entry])
                tokens += 1
                entry += 1
            if largest < 0 and tokens < tokens_in_unit[unit]:
                continue  # it is silent at another token of the unit, so the largest is zero
            if position[unit] >= 0:
                out_position[at] = position[unit]
                out_value[at] = largest
                at += 1
        stops[row] = at
