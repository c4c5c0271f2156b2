"""Labels of one level, sparse: which unit (token or example) has which concept, and which instance of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, Int32

from omnisae.concepts.annotations import Annotations
from omnisae.concepts.concept import Concept, Level
from omnisae.postings.postings import Postings

Pairs = Int32[np.ndarray, " pair"]


@dataclass(frozen=True)
class Labels:
    """Positive pairs (unit, concept, instance), sorted; everything else is negative, unless it is unknown.

    `concepts` are those of this level; `concept` and `unknown_concept` count among them. Units that are not `eligible`
    count for no concept. `fractions` hold the values of concepts that are no classes, NaN where unknown.
    """

    level: Level
    concepts: tuple[Concept, ...]
    eligible: Bool[np.ndarray, " unit"]
    unit: Pairs
    concept: Pairs
    instance: Pairs
    unknown_unit: Pairs
    unknown_concept: Pairs
    unit_of_token: Int32[np.ndarray, " token"]
    tokens_in_unit: Int32[np.ndarray, " unit"]
    example_of_unit: Int32[np.ndarray, " unit"]
    fractions: Mapping[int, Float64[np.ndarray, " unit"]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def sorted_pairs(unit: Pairs, concept: Pairs, instance: Pairs) -> tuple[Pairs, Pairs, Pairs]:
    """The pairs in the order of unit, concept and instance, each once."""
    order = np.lexsort((instance, concept, unit))
    unit, concept, instance = unit[order], concept[order], instance[order]
    first = np.ones(len(unit), dtype=bool)
    first[1:] = (np.diff(unit) != 0) | (np.diff(concept) != 0) | (np.diff(instance) != 0)
    return unit[first], concept[first], instance[first]


def whole_labels(postings: Postings, annotations: Annotations) -> Labels:
    """Labels of whole examples. An example's activation is the largest over its tokens."""
    fractional = set(annotations.fractions())
    concepts = tuple(Concept(name, "fraction" if name in fractional else "binary") for name in annotations.labels)
    shown = postings.shown
    units, numbers, unknown_units, unknown_numbers = [], [], [], []
    fractions: dict[int, Float64[np.ndarray, " unit"]] = {}
    for number, concept in enumerate(concepts):
        column = np.asarray(annotations.labels[concept.name], dtype=np.float64)
        missing = np.flatnonzero(np.isnan(column) & shown)
        unknown_units.append(missing)
        unknown_numbers.append(np.full(len(missing), number))
        if concept.kind == "fraction":
            fractions[number] = column
        else:
            positive = np.flatnonzero((column == 1) & shown)
            units.append(positive)
            numbers.append(np.full(len(positive), number))
    positive_units = joined(units)
    unit, which, instance = sorted_pairs(positive_units, joined(numbers), positive_units)
    order = np.lexsort((joined(unknown_numbers), joined(unknown_units)))
    example = np.array(postings.example)
    return Labels(
        level="example",
        concepts=concepts,
        eligible=shown,
        unit=unit,
        concept=which,
        instance=instance,
        unknown_unit=joined(unknown_units)[order],
        unknown_concept=joined(unknown_numbers)[order],
        unit_of_token=example,
        tokens_in_unit=np.bincount(example, minlength=postings.n_examples).astype(np.int32),
        example_of_unit=np.arange(postings.n_examples, dtype=np.int32),
        fractions=fractions,
    )


def joined(parts: list[np.ndarray]) -> Pairs:
    """One int32 array out of many."""
    return np.concatenate(parts).astype(np.int32) if parts else np.empty(0, dtype=np.int32)
