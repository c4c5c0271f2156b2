"""The dataset: a user's history an example, with what is known of its items at every event."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from omnisae.concepts.annotations import Annotations, Interval, Region
from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.dataset import Dataset, Example
from omnisae.store.key import content_key
from omnisae_recommendation.events import Histories
from omnisae_recommendation.items import Catalogue, Concepts

AXIS = "position"


class History(NamedTuple):
    """What a recommender is given of one example: its row, the items in order (numbers from 1), and the item that came
    next (0: none did)."""

    row: int
    items: Int[np.ndarray, " event"]
    target: int


@dataclass(frozen=True)
class Known:
    """What is known of users: columns by name, one text or several a user."""

    columns: Mapping[str, Mapping[str, tuple[str, ...]]]


class Sessions(Dataset):
    """One example a user, or a session where users have several.

    A history's events lie along the axis `position` of `length` steps, the last event at the last step: what comes
    before the first event is empty. Every event has the concepts of its item. `whole` says what is known of a whole
    history: nothing, the *share* of its events that have each concept, or the concepts of its *last* event.
    """

    def __init__(
        self,
        histories: Histories,
        items: Catalogue,
        concepts: Concepts,
        *,
        length: int,
        whole: str,
        users: Known,
        by_session: bool,
        notes: Sequence[str] = (),
    ) -> None:
        self.histories, self.items, self.concepts = histories, items, concepts
        self.length, self.whole, self.users, self.by_session = length, whole, users, by_session
        self._notes = tuple(notes)

    @property
    def ids(self) -> Sequence[str]:
        return self.histories.ids

    def load(self, row: int) -> Example:
        return Example(row, self.ids[row], History(row, self.history(row), self.histories.target(row)))

    def history(self, row: int) -> Int[np.ndarray, " event"]:
        """The items that a recommender sees of an example, in order of time: at most `length`, the last ones."""
        return self.histories.history(row, self.length)

    def slots(self, row: int) -> Int[np.ndarray, " event"]:
        """The steps along `position` at which these items lie."""
        events = len(self.history(row))
        return np.arange(self.length - events, self.length)

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        h = self.histories
        arrays = [
            part.tobytes() for part in (h.start, h.item, h.time, h.known, h.learn, np.packbits(self.concepts.has))
        ]
        digest = hashlib.sha256(b"".join(arrays)).hexdigest()
        titles = hashlib.sha256("\n".join([*h.ids, *h.rows, *self.items.titles]).encode()).hexdigest()
        return content_key([digest, titles, list(self.concepts.names), self.length, self.whole, self._users_key])

    @cached_property
    def lessons(self) -> str:
        """A hash of what a recommender may learn from, and of how many items and how long histories there are."""
        h = self.histories
        parts = (h.start, h.item, h.learn, np.array([self.length, len(h.rows)]))
        return hashlib.sha256(b"".join(part.astype(np.int64).tobytes() for part in parts)).hexdigest()

    @property
    def _users_key(self) -> object:
        return {name: sorted((user, list(v)) for user, v in c.items()) for name, c in self.users.columns.items()}

    def annotations(self) -> Annotations:
        return Annotations(self.ids, self._labels, self._regions, self.concepts.names)

    def _regions(self, row: int) -> list[Region]:
        out = []
        for slot, item in zip(self.slots(row).tolist(), self.history(row).tolist(), strict=True):
            for concept in np.flatnonzero(self.concepts.has[item - 1]):
                out.append(Region(self.concepts.names[concept], slot, Interval(AXIS, slot, slot + 1)))
        return out

    @cached_property
    def _labels(self) -> dict[str, Float[np.ndarray, " example"]]:
        out: dict[str, np.ndarray] = {}
        if self.whole != "none":
            seen = self.history_of_all(self.whole == "last")
            out |= {f"{self.whole}:{name}": seen[:, i] for i, name in enumerate(self.concepts.names)}
        for name, values in self.users.columns.items():
            kinds = sorted({kind for kinds in values.values() for kind in kinds})
            for kind in kinds:
                known = [values.get(user) for user in self.histories.users]
                out[f"user:{name}={kind}"] = np.array([np.nan if v is None else float(kind in v) for v in known])
        return out

    def history_of_all(self, last: bool) -> Float[np.ndarray, "example concept"]:
        """The share of every history's events that have each concept; of its last event alone, where so asked."""
        rows = [self.history(row)[-1:] if last else self.history(row) for row in range(len(self.ids))]
        return np.stack([self.concepts.has[items - 1].mean(axis=0) for items in rows])

    def groups(self, column: str) -> Sequence[str]:
        if column not in self.group_columns():
            return super().groups(column)
        return self.histories.users

    def group_columns(self) -> Sequence[str]:
        return ("user",)

    def must_split_by(self) -> str | None:
        """A user's sessions resemble one another: none may judge what another of them trained."""
        return "user" if self.by_session else None

    def labels(self) -> Mapping[str, Sequence[str]]:
        """By the first attribute of the items, the value that most events of a history have."""
        return self._mostly

    @cached_property
    def _mostly(self) -> Mapping[str, Sequence[str]]:
        for name, values in self.items.attributes.items():
            if any(text.startswith(f"{name}=") for text in self.concepts.names):
                return {f"mostly {name}": [self._most(self.history(row), values) for row in range(len(self.ids))]}
        return {}

    @staticmethod
    def _most(items: np.ndarray, values: Sequence[tuple[str, ...]]) -> str:
        count = Counter(value for item in items.tolist() for value in values[item - 1])
        return min(count, key=lambda value: (-count[value], value)) if count else ""

    def notes(self) -> Sequence[str]:
        return (*self._notes, *self.histories.notes)

    def concept(self, name: str) -> np.ndarray:
        """Which items (by number − 1) have a concept. Raises DatasetError where there is none of this name."""
        if name not in self.concepts.names:
            raise DatasetError(f"the items have no concept {name!r}", did_you_mean(name, self.concepts.names))
        return self.concepts.has[:, self.concepts.names.index(name)]


def sessions_of(dataset: Dataset, asks: str) -> Sessions:
    """The dataset, which must be of histories. Raises DatasetError otherwise; `asks` says for what."""
    if not isinstance(dataset, Sessions):
        raise DatasetError(
            f"{asks} needs users' histories, and the dataset is a {type(dataset).__name__}",
            "set dataset.type to recommendation.atomic, recommendation.rechorus or recommendation.movielens",
        )
    return dataset
