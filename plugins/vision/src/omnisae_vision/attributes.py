"""What a table knows of whole pictures: numbers and words, as concepts and as columns to show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from omnisae.errors import DatasetError, did_you_mean
from omnisae_vision.names import Names
from omnisae_vision.tables import Table

MOST_WORDS = 100
"""A column of more different words than this (file names, dates) becomes no concepts."""
NOT_KNOWN = "unknown"
Concepts = dict[str, Float[np.ndarray, " example"]]
"""Concepts of whole pictures by name: 0, 1, a fraction, or NaN."""


@dataclass(frozen=True)
class Attributes:
    """`concepts` are 0, 1, fractions or NaN; `words` columns of words, one an example; `groups` are not shown."""

    concepts: Mapping[str, Float[np.ndarray, " example"]] = field(default_factory=dict)
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


def attributes(table: Table, names: Names, *, id: str, columns: Sequence[str] | None, group: str | None) -> Attributes:
    """Every column becomes a concept (numbers), or one concept a word (`column=word`). Raises DatasetError."""
    rows = names.join(table.column(id), f"{table.path}")
    _refuse_twice(table, table.column(id), rows)
    for name in [*(columns or ()), *([group] if group else [])]:
        if name not in table.columns or name == id:
            raise DatasetError(f"{table.path} has no column {name!r}", did_you_mean(name, set(table.columns) - {id}))
    chosen = [name for name in (columns or table.columns) if name not in (id, group)]
    concepts: Concepts = {}
    words: dict[str, Sequence[str]] = {}
    for name in chosen:
        numbers = table.numbers(name)
        if numbers is not None:
            concepts[name] = _spread(_fractions(table, name, numbers), rows, len(names.ids))
            continue
        words[name] = _by_example(table.column(name), rows, len(names.ids))
        if len(set(words[name]) - {NOT_KNOWN}) <= MOST_WORDS:
            concepts |= one_hot(name, words[name])
    groups = {group: _by_example(table.column(group), rows, len(names.ids))} if group else {}
    return Attributes(concepts, words, groups)


def _fractions(table: Table, name: str, values: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    wrong = np.flatnonzero(~np.isnan(values) & ~((values >= 0) & (values <= 1)))
    if len(wrong):
        raise DatasetError(
            f"{table.place(int(wrong[0]))}: {name} is {values[wrong[0]]:g}; attributes are 0, 1, "
            f"fractions between, or empty ({len(wrong)} of {len(values)} values are not)",
            f"scale the column, or leave it out: dataset.columns names those that count (here without {name!r})",
        )
    return values


def _spread(values: Float[np.ndarray, " row"], rows: Sequence[int | None], n: int) -> Float[np.ndarray, " example"]:
    out = np.full(n, np.nan)
    for value, row in zip(values, rows, strict=True):
        if row is not None:
            out[row] = value
    return out


def _by_example(values: Sequence[str], rows: Sequence[int | None], n: int) -> list[str]:
    out = [NOT_KNOWN] * n
    for value, row in zip(values, rows, strict=True):
        if row is not None and value:
            out[row] = value
    return out


def one_hot(name: str, words: Sequence[str]) -> Concepts:
    """A concept `name=word` for every word of a column; NaN where it is not known."""
    kinds = sorted(set(words) - {NOT_KNOWN})
    column = np.array(words)
    known = column != NOT_KNOWN
    return {f"{name}={kind}": np.where(known, (column == kind).astype(np.float64), np.nan) for kind in kinds}


def _refuse_twice(table: Table, names: Sequence[str], rows: Sequence[int | None]) -> None:
    seen: dict[int, int] = {}
    for i, row in enumerate(rows):
        if row is not None and seen.setdefault(row, i) != i:
            raise DatasetError(
                f"{table.place(i)}: the picture {names[i]!r} stands already in {table.row} {table.lines[seen[row]]}",
                "keep one line a picture",
            )
