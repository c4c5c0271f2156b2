"""Several datasets as one, such as two corpora that are to be compared."""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from omnisae.errors import DatasetError, UnreadableExample
from omnisae.extract.dataset import Dataset, Example, FeatureTable

if TYPE_CHECKING:
    from omnisae.concepts.annotations import Annotations, Region


class Joined(Dataset):
    """Datasets by name, one after the other. An example's id begins with its part's name, `natural/cat-17`; the column
    `column` holds that name.

    What one part knows and another does not is unknown there: concepts are NaN, columns empty, and every example is a
    group of its own. Groups of one name are one group, whatever part they stand in. Regions are told of concepts that
    every part with regions knows, since what has no region of a known concept counts as being without it. Measurements
    (`features`) are there where all parts have the same; maps of parts are none of the whole.

    Raises DatasetError where a part has a column of its own called `column`, or parts forbid to divide the groups of
    different columns.
    """

    def __init__(self, column: str, parts: Mapping[str, Dataset]) -> None:
        self.column, self.parts = column, dict(parts)
        for name, part in self.parts.items():
            if column in {*part.labels(), *part.group_columns(), *part.annotations().labels}:
                raise DatasetError(
                    f"dataset.parts.{name} has a column {column!r} of its own",
                    "call the column that tells the parts apart something else: dataset.column",
                )
        whole = {part.must_split_by() for part in self.parts.values()} - {None}
        if len(whole) > 1:
            raise DatasetError(
                f"parts of the dataset may not be split within groups of {' and of '.join(sorted(map(repr, whole)))}",
                "give these columns one name in all parts, so that one split keeps them whole",
            )
        self._whole = next(iter(whole), None)
        self._ends = list(accumulate(len(part) for part in self.parts.values()))
        self._ids = [f"{name}/{one}" for name, part in self.parts.items() for one in part.ids]

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        part, at = self._place(row)
        try:
            return Example(row, self._ids[row], part.load(at).input)
        except UnreadableExample as error:
            raise UnreadableExample(f"{self._ids[row]}: {error.problem}", error.remedy) from error

    def fingerprint(self) -> str:
        told = [self.column, [[name, part.fingerprint()] for name, part in self.parts.items()]]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def annotations(self) -> "Annotations":
        from omnisae.concepts.annotations import Annotations

        found = {name: part.annotations() for name, part in self.parts.items()}
        ids = [f"{name}/{one}" for name, known in found.items() for one in known.ids]
        names = dict.fromkeys(concept for known in found.values() for concept in known.labels)
        labels = {name: np.concatenate([_known(one, name) for one in found.values()]) for name in names}
        drawn = [known.region_concepts for known in found.values() if known.regions is not None]
        shared, ends = _shared(drawn)[0], list(accumulate(len(known.ids) for known in found.values()))

        def of_part(row: int) -> "tuple[Annotations, int]":
            place = bisect_right(ends, row)
            return list(found.values())[place], row - [0, *ends][place]

        def regions(row: int) -> "Sequence[Region] | None":
            known, at = of_part(row)
            here = None if known.regions is None else known.regions(at)
            return None if here is None else [region for region in here if region.concept in shared]

        def unknown(row: int) -> "Sequence[Region]":
            known, at = of_part(row)
            here = () if known.unknown is None else known.unknown(at)
            return [region for region in here if region.concept in shared]

        doubted = any(known.unknown is not None for known in found.values())
        return Annotations(ids, labels, regions if drawn else None, shared, unknown if doubted else None)

    def labels(self) -> Mapping[str, Sequence[str]]:
        return {self.column: self._named()} | self._columns([part.labels() for part in self.parts.values()])

    def groups(self, column: str) -> Sequence[str]:
        if column == self.column:
            return self._named()
        if column not in self.group_columns():
            return super().groups(column)
        found: list[str] = []
        for name, part in self.parts.items():
            known = column in part.group_columns()
            found += part.groups(column) if known else [f"{name}/{one}" for one in part.ids]
        return found

    def group_columns(self) -> Sequence[str]:
        return list(dict.fromkeys([self.column, *(c for part in self.parts.values() for c in part.group_columns())]))

    def must_split_by(self) -> str | None:
        return self._whole

    def features(self) -> FeatureTable | None:
        tables = [part.features() for part in self.parts.values()]
        first = tables[0]
        if first is None or any(one is None or list(one.names) != list(first.names) for one in tables):
            return None
        values = [one.values for one in tables if one is not None]
        if any(hasattr(one, "toarray") for one in values):
            from scipy.sparse import csr_array, vstack

            return FeatureTable(first.names, vstack([csr_array(one) for one in values]), first.noun)
        return FeatureTable(first.names, np.concatenate(values), first.noun)

    def notes(self) -> Sequence[str]:
        found = [f"{name}: {note}" for name, part in self.parts.items() for note in part.notes()]
        drawn = [one.annotations() for one in self.parts.values()]
        alone = _shared([one.region_concepts for one in drawn if one.regions is not None])[1]
        if alone:
            found.append(f"Regions of {', '.join(alone)} are known in some parts only, and count in none.")
        return found

    def _place(self, row: int) -> tuple[Dataset, int]:
        """A row's part, and its row there."""
        place = bisect_right(self._ends, row)
        return list(self.parts.values())[place], row - [0, *self._ends][place]

    def _named(self) -> list[str]:
        return [name for name, part in self.parts.items() for _ in range(len(part))]

    def _columns(self, found: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, list[str]]:
        lengths = [len(part) for part in self.parts.values()]
        names = dict.fromkeys(name for one in found for name in one)
        return {
            name: [word for one, length in zip(found, lengths, strict=True) for word in one.get(name, [""] * length)]
            for name in names
        }


def _shared(named: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """The concepts that all of them name, and the others."""
    every = list(dict.fromkeys(concept for one in named for concept in one))
    shared = [concept for concept in every if all(concept in one for one in named)]
    return shared, [concept for concept in every if concept not in shared]


def _known(annotations: "Annotations", name: str) -> Float[np.ndarray, " example"]:
    """A concept's labels in one part; NaN where it knows none of the name."""
    if name in annotations.labels:
        return np.asarray(annotations.labels[name], dtype=np.float64)
    return np.full(len(annotations.ids), np.nan)
