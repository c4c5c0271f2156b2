"""Levels: the labels of tokens and of whole examples, with their SELECT and TEST streams, and what can be scored."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int64

from omnisae.concepts.annotations import Annotations
from omnisae.concepts.concept import Concept
from omnisae.concepts.join import join_ids
from omnisae.concepts.labels import Labels, whole_labels
from omnisae.concepts.regions import region_labels
from omnisae.concepts.stream import Stream, stream
from omnisae.config import ScoreConfig
from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor
from omnisae.extract.split import SELECT, TEST
from omnisae.postings.postings import Postings


@dataclass(frozen=True)
class Level:
    """One level's streams. `classes` and `fractions` are the numbers of the concepts that are scored."""

    labels: Labels
    select: Stream
    test: Stream
    classes: tuple[int, ...]
    fractions: tuple[int, ...]

    def concept(self, number: int) -> Concept:
        """A concept by its number."""
        return self.labels.concepts[number]


@dataclass(frozen=True)
class Unscored:
    """A concept that has too little to be scored, and why."""

    concept: Concept
    reason: str


def levels(
    postings: Postings, dataset: Dataset, extractor: Extractor, config: ScoreConfig
) -> tuple[list[Level], list[Unscored], list[str]]:
    """The levels that have concepts, the concepts that are not scored, and notes for the report.

    Raises DatasetError where the annotations join no example, or name unknown concepts.
    """
    annotations, joining = aligned(dataset)
    notes = [*dataset.notes(), *joining]
    block = blocks(dataset, config.split.by)
    found, unscored = [], []
    for labels in _labels(postings, annotations, dataset, extractor, config):
        notes += labels.notes
        level = Level(labels, stream(labels, postings, SELECT, block), stream(labels, postings, TEST, block), (), ())
        reasons = {n: _too_little(level, n, config.min_positives) for n in range(len(labels.concepts))}
        unscored += [Unscored(labels.concepts[n], reason) for n, reason in reasons.items() if reason]
        scored = [n for n, reason in reasons.items() if not reason]
        if scored:
            classes = tuple(n for n in scored if n not in labels.fractions)
            fractions = tuple(n for n in scored if n in labels.fractions)
            found.append(replace(level, classes=classes, fractions=fractions))
    return found, unscored, notes


def aligned(dataset: Dataset) -> tuple[Annotations, list[str]]:
    """The dataset's annotations in the order of its examples. Raises DatasetError where no id joins."""
    annotations = dataset.annotations()
    if list(annotations.ids) == list(dataset.ids):
        return annotations, []
    join = join_ids(dataset.ids, annotations.ids, "annotations")
    index = join.index

    def column(values: Float[np.ndarray, " label"]) -> Float[np.ndarray, " example"]:
        return np.where(index >= 0, np.asarray(values, dtype=np.float64)[index], np.nan)

    regions, unknown = annotations.regions, annotations.unknown
    return (
        replace(
            annotations,
            ids=dataset.ids,
            labels={name: column(values) for name, values in annotations.labels.items()},
            regions=None if regions is None else lambda row: regions(int(index[row])) if index[row] >= 0 else None,
            unknown=None if unknown is None else lambda row: unknown(int(index[row])) if index[row] >= 0 else (),
        ),
        [join.note] if join.note else [],
    )


def _labels(
    postings: Postings, annotations: Annotations, dataset: Dataset, extractor: Extractor, config: ScoreConfig
) -> Iterator[Labels]:
    if annotations.regions is not None and annotations.region_concepts:
        yield region_labels(postings, annotations, dataset, extractor, config.coverage)
    if annotations.labels:
        yield whole_labels(postings, annotations)


def blocks(dataset: Dataset, by: str) -> Int64[np.ndarray, " example"]:
    """The number of every example's block: its own, or its group's in the order in which groups first appear."""
    if by == "example":
        return np.arange(len(dataset))
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in dataset.groups(by)], dtype=np.int64)


def _too_little(level: Level, number: int, needed: int) -> str:
    """Why a concept cannot be scored; empty where it can."""
    concept = level.concept(number)
    for name, side in (("select", level.select), ("test", level.test)):
        examples = side.examples(number)
        if concept.kind == "fraction":
            values = level.labels.fractions[number][side.units[side.known(number)]]
            if examples < max(needed, 3):
                return f"it is known of {examples} {name} examples; {max(needed, 3)} are needed (score.min_positives)"
            if values.min() == values.max():
                return f"it has the same value in all {examples} {name} examples"
        elif examples < needed:
            return f"{examples} {name} examples have it; {needed} are needed (score.min_positives)"
        elif len(side.known(number)) == side.positives_of(number):
            return f"everything on the {name} side has it, so there is nothing to tell it from"
    return ""
