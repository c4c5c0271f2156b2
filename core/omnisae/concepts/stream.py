"""Streams: the units of one level on one side of the split, in a row, blocks of exchangeable units together."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int32, Int64

from omnisae.concepts.labels import Labels
from omnisae.postings.postings import Postings


@dataclass(frozen=True)
class Truth:
    """One concept over those units of a stream of which it is known; positions count among these.

    `place` is each stream position's place among them, −1 where the label is unknown. `mark` is 0 for a negative, else
    one more than the positive's number. Positive p belongs to the instances
    `instance[instance_offsets[p]:instance_offsets[p + 1]]`, counted from 0. `blocks` are the blocks' edges.
    """

    place: Int32[np.ndarray, " position"]
    mark: Int32[np.ndarray, " known"]
    positives: Int64[np.ndarray, " positive"]
    instance_offsets: Int64[np.ndarray, " positive+1"]
    instance: Int32[np.ndarray, " pair"]
    instances: int
    blocks: Int64[np.ndarray, " block+1"]
    values: Float64[np.ndarray, " known"] | None = None

    @property
    def n(self) -> int:
        """Units of which the concept is known."""
        return len(self.mark)

    def known_values(self) -> Float64[np.ndarray, " known"]:
        """The labels as numbers: 0 and 1 for a class."""
        return (self.mark > 0).astype(np.float64) if self.values is None else self.values


@dataclass(frozen=True)
class Stream:
    """`units[i]` is the unit at position i, `position` the inverse (−1: not here), `blocks` the starts of the blocks.

    Labels by position in compressed rows (`offsets`, `concept`, `instance`), and by concept (`concept_offsets` into
    `order`, which lists the pairs of a concept by position). Unknown labels are kept the same way, apart.
    """

    labels: Labels
    units: Int64[np.ndarray, " position"]
    position: Int32[np.ndarray, " unit"]
    blocks: Int64[np.ndarray, " block+1"]
    offsets: Int64[np.ndarray, " position+1"]
    concept: Int32[np.ndarray, " pair"]
    instance: Int32[np.ndarray, " pair"]
    unknown_offsets: Int64[np.ndarray, " position+1"]
    unknown_concept: Int32[np.ndarray, " unknown"]
    order: Int64[np.ndarray, " pair"]
    concept_offsets: Int64[np.ndarray, " concept+1"]
    pair_position: Int64[np.ndarray, " pair"]
    unknown_order: Int64[np.ndarray, " unknown"]
    unknown_concept_offsets: Int64[np.ndarray, " concept+1"]
    unknown_position: Int64[np.ndarray, " unknown"]

    def __len__(self) -> int:
        return len(self.units)

    def positives(self) -> Int64[np.ndarray, " concept"]:
        """The number of positive units of every concept."""
        out = np.zeros(len(self.labels.concepts), dtype=np.int64)
        for number in range(len(out)):
            out[number] = self.positives_of(number)
        return out

    def positives_of(self, number: int) -> int:
        """The number of positive units of one concept."""
        return len(np.unique(self._positions(number)))

    def known(self, number: int) -> Int64[np.ndarray, " known"]:
        """The positions at which a concept's label is known."""
        mask = np.ones(len(self), dtype=bool)
        mask[self.unknown_position[_run(self.unknown_concept_offsets, self.unknown_order, number)]] = False
        return np.flatnonzero(mask)

    def truth(self, number: int) -> Truth:
        """One concept's labels."""
        known = self.known(number)
        place = np.full(len(self), -1, dtype=np.int32)
        place[known] = np.arange(len(known), dtype=np.int32)
        where = place[self._positions(number)].astype(np.int64)
        pairs = _run(self.concept_offsets, self.order, number)
        positives, first = np.unique(where, return_index=True)
        mark = np.zeros(len(known), dtype=np.int32)
        mark[positives] = np.arange(1, len(positives) + 1, dtype=np.int32)
        names, instance = np.unique(self.instance[pairs], return_inverse=True)
        values = self.labels.fractions.get(number)
        return Truth(
            place=place,
            mark=mark,
            positives=positives,
            instance_offsets=np.r_[first, len(pairs)].astype(np.int64),
            instance=instance.astype(np.int32),
            instances=len(names),
            blocks=np.unique(np.searchsorted(known, self.blocks)),
            values=None if values is None else values[self.units[known]],
        )

    def examples(self, number: int) -> int:
        """How many examples have a positive unit; for fractions, a known value."""
        positions = self.known(number) if number in self.labels.fractions else self._positions(number)
        return len(np.unique(self.labels.example_of_unit[self.units[positions]]))

    def _positions(self, number: int) -> Int64[np.ndarray, " pair"]:
        return np.asarray(self.pair_position[_run(self.concept_offsets, self.order, number)])


def stream(labels: Labels, postings: Postings, side: int, block: Int[np.ndarray, " example"]) -> Stream:
    """The eligible units on one side of the split. `block[example]` tells which examples are shuffled as one."""
    units = np.flatnonzero(labels.eligible & (postings.split[labels.example_of_unit] == side))
    blocks = block[labels.example_of_unit[units]]
    order = np.argsort(blocks, kind="stable")
    units, blocks = units[order], blocks[order]
    starts = np.flatnonzero(np.r_[True, blocks[1:] != blocks[:-1]]) if len(units) else np.empty(0, dtype=np.int64)
    position = np.full(len(labels.eligible), -1, dtype=np.int32)
    position[units] = np.arange(len(units), dtype=np.int32)
    where, concept, instance = _ordered(position, labels.unit, labels.concept, labels.instance)
    unknown_where, unknown_concept, _ = _ordered(
        position, labels.unknown_unit, labels.unknown_concept, labels.unknown_concept
    )
    concepts = len(labels.concepts)
    return Stream(
        labels=labels,
        units=units,
        position=position,
        blocks=np.r_[starts, len(units)].astype(np.int64),
        offsets=_offsets(where, len(units)),
        concept=concept,
        instance=instance,
        unknown_offsets=_offsets(unknown_where, len(units)),
        unknown_concept=unknown_concept,
        order=np.argsort(concept, kind="stable"),
        concept_offsets=_offsets(concept, concepts),
        pair_position=where,
        unknown_order=np.argsort(unknown_concept, kind="stable"),
        unknown_concept_offsets=_offsets(unknown_concept, concepts),
        unknown_position=unknown_where,
    )


def _ordered(
    position: Int32[np.ndarray, " unit"],
    unit: Int32[np.ndarray, " pair"],
    concept: Int32[np.ndarray, " pair"],
    instance: Int32[np.ndarray, " pair"],
) -> tuple[Int64[np.ndarray, " here"], Int32[np.ndarray, " here"], Int32[np.ndarray, " here"]]:
    """The pairs of units that lie in the stream, by position; those of one position stay in their order."""
    where = position[unit].astype(np.int64)
    here = np.flatnonzero(where >= 0)
    here = here[np.argsort(where[here], kind="stable")]
    return where[here], concept[here], instance[here]


def _offsets(where: Int[np.ndarray, " pair"], n: int) -> Int64[np.ndarray, " n+1"]:
    """Where each of n runs begins among sorted pairs, and the end."""
    return np.asarray(np.r_[0, np.cumsum(np.bincount(where, minlength=n))], dtype=np.int64)


def _run(
    offsets: Int64[np.ndarray, " n+1"], order: Int64[np.ndarray, " pair"], number: int
) -> Int64[np.ndarray, " run"]:
    """The pairs of one run."""
    return order[offsets[number] : offsets[number + 1]]
