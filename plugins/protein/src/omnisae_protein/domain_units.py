"""What is scored by domain F1: latents out of posting lists, neurons out of the store, a block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from omnisae.concepts.gather import Activations, chunks, gather
from omnisae.concepts.stream import Stream
from omnisae.extract.split import SELECT, TEST
from omnisae.postings.postings import Postings
from omnisae.store.source import TokenSource

CELLS = 1 << 22
"""Entries of a table of F1 held at a time."""
VALUES = 1 << 26
"""Activations of neurons held at a time."""


@dataclass(frozen=True)
class Block:
    """Some units on one side of the split: their numbers, activations, and largest values on SELECT."""

    numbers: Int64[np.ndarray, " row"]
    activations: Activations
    ceilings: Float32[np.ndarray, " row"]


def latents(postings: Postings, stream: Stream, wanted: Int64[np.ndarray, " row"], cells: int) -> Iterator[Block]:
    """Posting lists, as many at a time as `cells` table entries a row allow."""
    for part in chunks(postings, wanted, rows=max(1, CELLS // cells)):
        mine = wanted[part]
        yield Block(mine, gather(postings, stream, mine), np.asarray(postings.maxima_select[mine]))


def neurons(
    postings: Postings,
    source: TokenSource,
    select: Stream,
    stream: Stream,
    side: int,
    wanted: Int64[np.ndarray, " unit"],
) -> Iterator[Block]:
    """Neurons and their negatives (numbers from the width on), less the mean over SELECT, as sparse rows. Each block
    reads the tokens of SELECT, and of TEST where that side is asked for."""
    width = postings.hook.own_width
    axes = np.unique(wanted % width)
    most = max(1, VALUES // max(len(select), len(stream), 1))
    for start in range(0, len(axes), most):
        mine = axes[start : start + most]
        chosen = _read(postings, source, select, SELECT, mine)
        mean = chosen.mean(axis=1, keepdims=True)
        values = (chosen if side == SELECT else _read(postings, source, stream, TEST, mine)) - mean
        chosen -= mean
        for sign in (1.0, -1.0):
            numbers = mine + (width if sign < 0 else 0)
            kept = np.isin(numbers, wanted)
            if kept.any():
                ceilings = np.maximum((sign * chosen[kept]).max(axis=1), 0)
                yield Block(numbers[kept], _sparse(sign * values[kept]), ceilings)


def _read(
    postings: Postings, source: TokenSource, stream: Stream, side: int, axes: Int64[np.ndarray, " axis"]
) -> Float32[np.ndarray, "axis position"]:
    out = np.zeros((len(axes), len(stream)), dtype=np.float32)
    examples = postings.split == side
    tokens = np.flatnonzero(examples[postings.example])
    at = 0
    for batch in source.sequential(postings.manifest.keep_on(side), examples, 4096):
        position = stream.position[tokens[at : at + len(batch)]]
        at += len(batch)
        out[:, position[position >= 0]] = batch.values.float().numpy()[position >= 0][:, axes].T
    return out


def _sparse(values: Float32[np.ndarray, "row position"]) -> Activations:
    """Rows of their values above zero."""
    rows, positions = np.nonzero(values > 0)
    edges = np.r_[0, np.cumsum(np.bincount(rows, minlength=len(values)))].astype(np.int64)
    return Activations(edges[:-1].copy(), edges[1:].copy(), positions.astype(np.int32), values[rows, positions])
