"""What is known of items: titles, and attributes that are the concepts of every event with the item."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from omnisae.errors import DatasetError, did_you_mean

WORD = re.compile(r"[^\W\d_]{3,}")
"""A word of a title that may be a concept: three letters or more."""
PLAIN = frozenset({"and", "for", "from", "her", "his", "part", "the", "with"})
"""Words of titles that say nothing of the item."""


@dataclass(frozen=True)
class Catalogue:
    """Items by their ids. `attributes[name][i]` are the values of item i under an attribute: none, one or several."""

    ids: Sequence[str]
    titles: Sequence[str]
    attributes: Mapping[str, Sequence[tuple[str, ...]]] = field(default_factory=dict)

    def take(self, ids: Sequence[str]) -> "Catalogue":
        """The items with these ids, in this order; one that is not known has its id as its title and no attributes."""
        place = {name: i for i, name in enumerate(self.ids)}
        at = [place.get(name, -1) for name in ids]
        return Catalogue(
            tuple(ids),
            tuple(self.titles[i] if i >= 0 else name for i, name in zip(at, ids, strict=True)),
            {name: tuple(v[i] if i >= 0 else () for i in at) for name, v in self.attributes.items()},
        )

    def words(self, item: int) -> list[str]:
        """The words of an item's title, lower case, without those that say nothing."""
        return [word for word in WORD.findall(self.titles[item].lower()) if word not in PLAIN]

    def text(self, item: int) -> str:
        """All that is said of an item: its title and its attributes' values."""
        values = [value for column in self.attributes.values() for value in column[item]]
        return " · ".join([self.titles[item], *values])


@dataclass(frozen=True)
class Concepts:
    """Which item has which concept: `has[item, concept]`."""

    names: tuple[str, ...]
    has: Bool[np.ndarray, "item concept"]


def concepts_of(
    items: Catalogue,
    attributes: Sequence[str] | None,
    *,
    least: int,
    most: int,
    title_words: int,
) -> tuple[Concepts, list[str]]:
    """A concept `attribute=value` for each value that at least `least` items have, and notes on what makes none.

    `attributes` None: all with at most `most` different values among them. `title_words` > 0: words that stand in at
    least so many titles are concepts `title:word`. Raises DatasetError where an attribute is unknown.
    """
    notes = []
    for name in attributes or ():
        if name not in items.attributes:
            raise DatasetError(
                f"dataset.concepts names {name!r}, which the items do not have", did_you_mean(name, items.attributes)
            )
    found: dict[str, np.ndarray] = {}
    for name in items.attributes if attributes is None else attributes:
        column = items.attributes[name]
        count = Counter(value for values in column for value in set(values))
        kinds = sorted(value for value, n in count.items() if n >= least)
        if attributes is None and len(kinds) > most:
            notes.append(f"the items' {name!r} makes no concepts: {len(kinds)} different values (at most {most})")
            continue
        if rare := len(count) - len(kinds):
            notes.append(f"{rare} values of the items' {name!r} make no concepts: fewer than {least} items have them")
        for kind in kinds:
            found[f"{name}={kind}"] = np.array([kind in values for values in column])
    if title_words:
        words = [set(items.words(i)) for i in range(len(items.ids))]
        count = Counter(word for one in words for word in one)
        for word in sorted(word for word, n in count.items() if n >= title_words):
            found[f"title:{word}"] = np.array([word in one for one in words])
    has = np.stack(list(found.values()), axis=1) if found else np.zeros((len(items.ids), 0), dtype=bool)
    return Concepts(tuple(found), has), notes
