"""Columns of what is known of examples, whatever part of the dataset they stand in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from omnisae.concepts.labels import Labels
from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.split import SELECT, TEST
from omnisae.studies.study import Material

MOST_CLASSES = 12
"""Different numbers beyond which a column of numbers written as text is one of numbers, not of classes."""


@dataclass(frozen=True)
class Column:
    """One value an example, NaN where unknown: a number, or (where there are `classes`) the number of a class."""

    name: str
    values: Float[np.ndarray, " example"]
    classes: tuple[str, ...] = ()

    @property
    def known(self) -> Bool[np.ndarray, " example"]:
        """The examples of which it is known."""
        return np.asarray(~np.isnan(self.values))

    def is_(self, label: str) -> Bool[np.ndarray, " example"]:
        """The examples of one class."""
        return np.asarray(self.values == self.classes.index(label))


def column(material: Material, name: str) -> Column:
    """A column by name: of `dataset.labels()`, a concept of whole examples, or one of `dataset.features()`.

    A concept that is 0 or 1 has the classes `no` and `yes`. Raises DatasetError where there is none of this name.
    """
    labels = material.dataset.labels()
    if name in labels:
        return _of_text(name, labels[name])
    concepts = material.annotations.labels
    if name in concepts:
        values = np.asarray(concepts[name], dtype=np.float64)
        return Column(name, values, ("no", "yes") if set(np.unique(values[~np.isnan(values)])) <= {0.0, 1.0} else ())
    table = material.dataset.features()
    names = [] if table is None else list(table.names)
    if table is not None and name in names:
        at = table.values[:, [names.index(name)]]
        return Column(name, np.asarray(at.toarray() if hasattr(at, "toarray") else at, dtype=np.float64).ravel())
    raise DatasetError(
        f"the dataset has no column, concept or feature {name!r}",
        did_you_mean(name, [*labels, *concepts, *names]),
    )


def classes(material: Material, name: str) -> Column:
    """A column of classes. Raises DatasetError where it holds numbers."""
    found = column(material, name)
    if not found.classes:
        raise DatasetError(f"the column {name!r} holds numbers; classes are needed", "name a column of classes")
    return found


def choose(found: Column, label: str | None, wanted: str) -> str:
    """A class of a column by its name. Raises DatasetError where there is none of it; `wanted` says what it is for."""
    if label is None or label not in found.classes:
        problem = f"the column {found.name!r} has no {label!r}" if label is not None else f"{wanted} is not named"
        raise DatasetError(problem, did_you_mean(label or "", found.classes))
    return label


def concepts(
    material: Material, names: Sequence[str] | None = None, least: int = 5
) -> Iterator[tuple[str, Float[np.ndarray, " example"]]]:
    """Binary concepts of whole examples with 0, 1 or NaN for every example, and of regions: 1 where an example has one.

    Only those of which SELECT and TEST each have at least `least` examples with and without. Raises DatasetError where
    a name is unknown.
    """
    found = {name: material.known(name) for name in material.annotations.binary()}
    for level in material.levels:
        if level.labels.level == "token":
            for number, concept in enumerate(level.labels.concepts):
                found.setdefault(concept.name, _has_region(material, level.labels, number))
    for name in names if names is not None else found:
        if name not in found:
            raise DatasetError(f"no binary concept is called {name!r}", did_you_mean(name, found))
        sides = [found[name][material.rows(side)] for side in (SELECT, TEST)]
        if all(min((side == 1).sum(), (side == 0).sum()) >= least for side in sides):
            yield name, found[name]


def _has_region(material: Material, labels: Labels, number: int) -> Float[np.ndarray, " example"]:
    out = np.full(material.postings.n_examples, np.nan)
    out[labels.example_of_unit[labels.eligible]] = 0.0
    out[labels.example_of_unit[labels.unit[labels.concept == number]]] = 1.0
    return out


def _of_text(name: str, column: Sequence[str]) -> Column:
    known = [text for text in column if text != ""]
    numbers = _numbers(column)
    if numbers is not None and len(np.unique(numbers[~np.isnan(numbers)])) > MOST_CLASSES:
        return Column(name, numbers)
    kinds = tuple(sorted({str(text) for text in known}))
    where = {kind: float(number) for number, kind in enumerate(kinds)}
    return Column(name, np.array([where.get(str(text), np.nan) for text in column]), kinds)


def _numbers(column: Sequence[str]) -> Float[np.ndarray, " example"] | None:
    try:
        return np.array([float(text) if text != "" else np.nan for text in column])
    except ValueError:
        return None
