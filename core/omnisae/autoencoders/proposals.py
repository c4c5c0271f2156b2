"""Pre-activations on the CPU: a narrow product proposes, fp32 decides among all proposals that could be wanted.

A proposal p of the pre-activation a is off by at most

    |a − p| ≤ ‖x − x̂‖ ‖w‖ + (‖x‖ + ‖x − x̂‖) ‖w − ŵ‖ + d·2⁻²³ ‖x‖ ‖w‖

(Cauchy–Schwarz; x̂, ŵ are the narrow rows of width d; the last term covers both sums' rounding), and by its own
rounding. `exact` looks at all latents within twice this bound, so that nothing fp32 would pick is missed. `mixed` takes
rounding errors as independent of each other, so that p is off by about (‖x − x̂‖² ‖w‖² + ‖x‖² ‖w − ŵ‖²)^½ d^(−½), and
looks three of these far. `bf16` takes proposals as they are.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnisae.autoencoders.kernels import select
from omnisae.autoencoders.kernels.loops import array, threads
from omnisae.autoencoders.operand import Narrow
from omnisae.autoencoders.picked import Picked, packed
from omnisae.autoencoders.precision import Product, product

if TYPE_CHECKING:
    from omnisae.autoencoders.preactivations import Preactivations

DEVIATIONS = 3.0
"""How many standard deviations of a proposal's error `mixed` looks beyond the threshold."""
FIRST = 16
"""Rows on which int8 is tried."""
CROWDED = 5
"""Candidates for each pick beyond which looking at them costs more than int8 saves."""
EIGHT_BITS = 2.0**-8
"""By how much the rounding of two numbers to bf16 can shift their order, relative to them."""
SUMS = {"int8": torch.int32, "bfloat16": torch.bfloat16, "float32": torch.float32}
"""What each product gives."""


class Reading(NamedTuple):
    """Proposals and how they are read: p = proposal · by[row] · scale[latent] + offset[latent]."""

    proposals: np.ndarray
    scale: np.ndarray
    by: np.ndarray
    offset: np.ndarray
    slack: np.ndarray
    blur: np.float32
    x: np.ndarray
    encoder: np.ndarray


class Chunk(NamedTuple):
    """The proposals of some tokens."""

    rows: slice
    read: Reading


class Answer(NamedTuple):
    """What was picked, and how many candidates were looked at for it."""

    picked: Picked
    candidates: int


def top(pre: "Preactivations", k: int, signed: bool) -> Picked:
    """The k largest positive (or largest in magnitude) of each token."""
    return _ask(pre, lambda some, kind: _top(some, k, signed, kind))


def above(pre: "Preactivations", bound: Float[Tensor, " latent"], expected: int) -> Picked:
    """All that exceed their latent's bound."""
    return _ask(pre, lambda some, kind: _above(some, bound, expected, kind))


def _ask(pre: "Preactivations", question: "Callable[[Preactivations, Product], Answer]") -> Picked:
    """The answer by the product that proposes fastest.

    Rows or latents of very uneven sizes leave int8 so few levels for most of them that it proposes far too many
    latents. The first rows tell; bf16 proposes then.
    """
    kind = product(pre.precision)
    if kind == "int8":
        first = question(pre.first(FIRST), kind)
        if first.candidates > CROWDED * max(first.picked.entries, FIRST):
            kind = "bfloat16"
    return question(pre, kind).picked


def _top(pre: "Preactivations", k: int, signed: bool, kind: Product) -> Answer:
    latents, values = torch.empty(pre.tokens, k, dtype=torch.int32), torch.empty(pre.tokens, k)
    counts, trust, candidates = torch.zeros(pre.tokens, dtype=torch.int32), pre.precision == "bf16", 0
    groups = max(min(pre.latents, 4 * k), -(-pre.latents // 16))  # so many that the largest seldom share one
    for chunk in _chunks(pre, kind):
        into, found, kept = (array(part[chunk.rows]) for part in (latents, values, counts))
        seen, room = np.zeros(len(kept), np.int32), min(pre.latents, 16 * k + 256)
        while True:
            select.top(*chunk.read, k, groups, signed, into, found, kept, seen, room, trust)
            if seen.max() <= room:
                break
            room = int(seen.max())
        candidates += int(seen.sum())
    return Answer(packed(counts, latents, values), candidates)


def _above(pre: "Preactivations", bound: Float[Tensor, " latent"], expected: int, kind: Product) -> Answer:
    room, trust, candidates = min(pre.latents, 4 * expected + 64), pre.precision == "bf16", 0
    parts = [Picked.none()]
    for chunk in _chunks(pre, kind):
        count = chunk.rows.stop - chunk.rows.start
        while True:
            latents, values = torch.empty(count, room, dtype=torch.int32), torch.empty(count, room)
            counts, seen = torch.zeros(count, dtype=torch.int32), np.zeros(count, np.int32)
            select.above(*chunk.read, array(bound), array(latents), array(values), array(counts), seen, trust)
            if seen.max() <= room:
                break
            room = int(seen.max())
        candidates += int(seen.sum())
        parts.append(packed(counts, latents, values))
    return Answer(Picked.joined(parts), candidates)


def largest(pre: "Preactivations", count: int, guess: float) -> Picked:
    """Entries among which the `count` largest positive of the batch are: all above a threshold that lets enough
    through, counted over all processes that hold latents.
    """
    if pre.tokens == 0:
        return Picked.none()
    expected = max(1, count // pre.tokens)
    for threshold in chain((guess,), _lower(pre, guess, expected)):
        if threshold > 0:
            picked = above(pre, torch.full((pre.latents,), threshold), 2 * expected)
            if int(pre.over_latents.summed(torch.tensor(picked.entries))) >= count:
                return picked
    return above(pre, torch.zeros(pre.latents), 2 * expected)


def _lower(pre: "Preactivations", guess: float, expected: int) -> Iterator[float]:
    """Thresholds below a guess that let too little through, the first from a look at some rows."""
    some = pre.rows(slice(0, pre.tokens, max(1, pre.tokens // 64)))
    least = some.reshape(-1).topk(min(len(some) * expected, some.numel()), sorted=False).values.min()
    seen = float(pre.over_latents.most(least))  # one process alone has enough above its own
    threshold = min(guess, seen) if guess > 0 else seen
    for _ in range(4):
        threshold *= 0.9
        yield threshold


def _chunks(pre: "Preactivations", kind: Product) -> Iterator[Chunk]:
    """The proposals of all tokens, a few rows at a time in one buffer."""
    if pre.tokens == 0 or pre.latents == 0:
        return
    threads()
    x, w = pre.x.narrow(kind), pre.weights.narrow(kind)
    slack, blur = _slack(pre, kind, x, w)
    buffer = torch.empty(min(pre.chunk, pre.tokens), pre.latents, dtype=SUMS[kind])
    transposed = w.values.t()
    for start in range(0, pre.tokens, pre.chunk):
        rows = slice(start, min(start + pre.chunk, pre.tokens))
        out = buffer[: rows.stop - start]
        if kind == "int8":
            torch._int_mm(x.values[rows], transposed, out=out)
        else:
            torch.mm(x.values[rows], transposed, out=out)
        read = Reading(
            array(out),
            scale=array(w.scale),
            by=array(x.scale[rows]),
            offset=array(pre.offset),
            slack=array(slack[rows]),
            blur=blur,
            x=array(pre.x.rows[rows]),
            encoder=array(pre.encoder),
        )
        yield Chunk(rows, read)


def _slack(pre: "Preactivations", kind: Product, x: Narrow, w: Narrow) -> tuple[Float[Tensor, " row"], np.float32]:
    """How far below the threshold of proposals a wanted one may lie: by row, and relative to the threshold."""
    if pre.precision == "bf16":
        return torch.zeros_like(x.norm), np.float32(0)
    width = pre.encoder.shape[1]
    norm, error = w.norm.max(), w.error.max()
    blur = EIGHT_BITS if kind == "bfloat16" else 0.0
    summing = width * 2.0**-23 * x.norm * norm
    if pre.precision == "mixed":
        spread = ((x.error * norm).square() + (x.norm * error).square()).sqrt() / sqrt(width)
        return DEVIATIONS * spread + summing, np.float32(blur)
    bound = x.error * norm + (x.norm + x.error) * error + summing
    return 2 * bound + blur * pre.offset.abs().max(), np.float32(blur)
