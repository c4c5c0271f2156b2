"""Annotations: what people of the field know of examples and of places in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, slots=True)
class Mask:
    """A region over the raw example's `y` and `x`, at the raw example's own resolution."""

    where: Bool[np.ndarray, "y x"]


@dataclass(frozen=True, slots=True)
class Interval:
    """The steps `start` ≤ step < `stop` along one axis of the hook point."""

    axis: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Region:
    """A place in one example where a concept is present. `instance` tells several apart within the example."""

    concept: str
    instance: int
    place: Mask | Interval


@dataclass(frozen=True)
class Annotations:
    """Labels of examples and regions within them.

    `labels[concept]` is one number an example: 0 or 1 for a binary concept, a fraction in [0, 1] otherwise; NaN is
    unknown and never counts. `regions(row)` are an example's regions, or None where the example was not annotated (its
    tokens then count for no concept); `region_concepts` names all concepts that regions may have, so that an example
    without a region of one is a true negative. `unknown(row)` are places of an annotated example of which nobody said
    whether they have a concept: their tokens count neither way for it.
    """

    ids: Sequence[str]
    labels: Mapping[str, Float[np.ndarray, " example"]] = field(default_factory=dict)
    regions: Callable[[int], Sequence[Region] | None] | None = None
    region_concepts: Sequence[str] = ()
    unknown: Callable[[int], Sequence[Region]] | None = None

    def binary(self) -> list[str]:
        """The concepts of whole examples that take no value but 0, 1 and NaN."""
        return [name for name, column in self.labels.items() if set(np.unique(column[~np.isnan(column)])) <= {0.0, 1.0}]

    def fractions(self) -> list[str]:
        """The concepts of whole examples that take other values."""
        binary = set(self.binary())
        return [name for name in self.labels if name not in binary]
