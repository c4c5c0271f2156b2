"""Datasets: examples by row, their ids, and what is known of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from omnisae.concepts.annotations import Annotations


@dataclass(frozen=True, slots=True)
class Example:
    """One item of a dataset. `input` is whatever the extractor understands; core never looks inside."""

    row: int
    id: str
    input: Any


class Dataset(ABC):
    """Examples in a fixed order, and their annotations."""

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """The id of every example, unique, in order."""

    @abstractmethod
    def load(self, row: int) -> Example:
        """One example, read when asked for (often in a worker process). Raises UnreadableExample where it cannot be."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes when the examples or their annotations change. Cheap: names, sizes and times will do."""

    def annotations(self) -> "Annotations":
        """What is known of the examples. Default: nothing."""
        from omnisae.concepts.annotations import Annotations

        return Annotations(self.ids)

    def groups(self, column: str) -> Sequence[str]:
        """The group of every example (patient, user, site). Raises DatasetError where there is no such column."""
        from omnisae.errors import DatasetError, did_you_mean

        remedy = did_you_mean(column, self.group_columns())
        raise DatasetError(f"this dataset has no column {column!r} to group by", remedy)

    def group_columns(self) -> Sequence[str]:
        """The columns that `groups` knows."""
        return ()

    def must_split_by(self) -> str | None:
        """The column of `groups` whose groups no split may divide (patient, user), whatever the config says.

        None: any split will do. A split by another column, or by example, is refused where it divides one of them.
        """
        return None

    def embeddings(self) -> Mapping[str, Float[np.ndarray, "example 2"]]:
        """Maps of the examples onto a plane which the dataset brings along, by name."""
        return {}

    def labels(self) -> Mapping[str, Sequence[str]]:
        """Categorical columns of the examples that a report may show or colour by. Never what identifies a person."""
        return {}

    def features(self) -> "FeatureTable | None":
        """Named measurements of every example by which a visualizer may describe a latent."""
        return None

    def notes(self) -> Sequence[str]:
        """What a reader of the report should know of this dataset, such as labels that joined no example."""
        return ()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class FeatureTable:
    """Measurements of examples: `values` is dense or scipy-sparse, shape (example, feature)."""

    names: Sequence[str]
    values: Any
    noun: str = "feature"
