"""Windows: long proteins in overlapping pieces, and pieces of like length in one forward."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

PADDING = 0.12
"""Largest share of a forward that is padding."""


@dataclass(frozen=True, slots=True)
class Window:
    """Residues `start` ≤ i < `stop` of a protein go through the model; of them `first` ≤ i < `last` are read."""

    start: int
    stop: int
    first: int
    last: int


def windows(length: int, size: int, overlap: int) -> list[Window]:
    """The windows of a protein: one, or as few as possible of equal size. Of the residues that two windows share, each
    window's are read up to the middle, where both see as much of what is around.

    Raises ValueError unless overlap < size.
    """
    if overlap >= size:
        raise ValueError(f"windows of {size} residues cannot overlap by {overlap}")
    if length <= size:
        return [Window(0, length, 0, length)]
    count = -(-(length - overlap) // (size - overlap))
    starts = [round(i * (length - size) / (count - 1)) for i in range(count)]
    middles = [(left + size + right) // 2 for left, right in pairwise(starts)]
    edges = [0, *middles, length]
    return [Window(at, at + size, edges[i], edges[i + 1]) for i, at in enumerate(starts)]


def groups(lengths: Sequence[int], most_tokens: int, *, equal: bool = False) -> Iterator[list[int]]:
    """Pieces by their numbers, in groups that go through the model together: of like length, so that at most PADDING of
    a group is padding, and at most `most_tokens` with it; with `equal` of one length alone."""
    order = np.argsort(np.asarray(lengths), kind="stable")[::-1]
    group: list[int] = []
    real = 0
    for number in order.tolist():
        longest = lengths[group[0]] if group else lengths[number]
        size = longest * (len(group) + 1)
        wasted = 1 - (real + lengths[number]) / size
        if group and (size > most_tokens or wasted > PADDING or (equal and lengths[number] != longest)):
            yield group
            group, real = [], 0
        group.append(number)
        real += lengths[number]
    if group:
        yield group
