"""Joining a catalogue's rows to cut-outs by id, with an account of what did not match."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from omnisae.errors import DatasetError, did_you_mean

Minus = Literal["kept", "NEG"]


@dataclass(frozen=True)
class Joined:
    """`row` is the catalogue's row of every cut-out, −1 where it has none; `notes` tell what did not match."""

    row: Int[np.ndarray, " example"]
    notes: tuple[str, ...]


def join(ids: Sequence[str], theirs: Sequence[str], what: str, minus: Minus = "kept") -> Joined:
    """Every cut-out's row. A cut-out is found by its id, or by its file's name alone where no two share it.

    With `minus: NEG` a minus sign and NEG mean the same. Raises DatasetError where an id stands twice in the catalogue
    (also where two ids become one by that), and where none joins.
    """
    keys = [_key(name, minus) for name in theirs]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        rows = [i for i, key in enumerate(keys) if key == twice[0]]
        raise DatasetError(
            f"{what}: {len(twice)} ids stand there more than once: {theirs[rows[0]]!r} in row {rows[0] + 1} and "
            f"{theirs[rows[1]]!r} in row {rows[1] + 1}",
            "leave one row for every galaxy",
        )
    where = {key: i for i, key in enumerate(keys)}
    own = [_key(name, minus) for name in ids]
    bare = [name.rpartition("/")[2] for name in own]
    often = Counter(bare)
    row = np.array(
        [
            where.get(key, where.get(short, -1) if often[short] == 1 else -1)
            for key, short in zip(own, bare, strict=True)
        ]
    )
    joined = int((row >= 0).sum())
    if not joined:
        hint = (
            "" if minus == "NEG" or "-" not in theirs[0] + ids[0] else "; dataset.minus: NEG where one writes NEG for -"
        )
        raise DatasetError(
            f"{what}: none of its {len(theirs)} ids names one of the {len(ids)} cut-outs (there {theirs[0]!r}, here "
            f"{ids[0]!r})",
            f"name the column of ids in dataset.id; for {theirs[0]!r}, {did_you_mean(theirs[0], ids)}{hint}",
        )
    notes = []
    if joined < len(theirs):
        lost = sorted(set(range(len(theirs))) - set(row.tolist()))
        notes.append(f"{what}: {len(lost)} of {len(theirs)} rows have no cut-out: {_some([theirs[i] for i in lost])}")
    if joined < len(ids):
        without = [ids[i] for i in np.flatnonzero(row < 0)]
        notes.append(f"{what}: {len(without)} of {len(ids)} cut-outs have no row: {_some(without)}")
    return Joined(row, tuple(notes))


def _key(name: str, minus: Minus) -> str:
    return name.replace("-", "NEG") if minus == "NEG" else name


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:3]) + (" …" if len(names) > 3 else "")
