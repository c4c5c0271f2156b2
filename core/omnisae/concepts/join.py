"""Joining labels to examples by id, so that nothing is lost without a word. No torch here."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from omnisae.errors import DatasetError, did_you_mean


@dataclass(frozen=True, slots=True)
class Join:
    """`index[row]` is the label of example `row`, −1 where it has none."""

    index: Int64[np.ndarray, " example"]
    unlabelled: int
    """Examples without a label."""
    orphans: int
    """Labels without an example."""
    note: str
    """One sentence for the report where anything was left over; empty where all joined."""


def join_ids(dataset_ids: Sequence[str], label_ids: Sequence[str], what: str) -> Join:
    """Find every example's label by its id. `what` names the labels in messages, e.g. the file they come from.

    Raises DatasetError where an id has two labels, and where no label joins any example.
    """
    twice = [name for name, count in Counter(label_ids).items() if count > 1]
    if twice:
        raise DatasetError(
            f"{what}: {len(twice)} ids stand there more than once, {twice[0]!r} among them; each example has one label",
            "leave one row for every id",
        )
    where = {name: i for i, name in enumerate(label_ids)}
    index = np.array([where.get(name, -1) for name in dataset_ids], dtype=np.int64)
    joined = int((index >= 0).sum())
    unlabelled, orphans = len(dataset_ids) - joined, len(label_ids) - joined
    if joined == 0:
        example = str(dataset_ids[0]) if len(dataset_ids) else ""
        label = str(label_ids[0]) if len(label_ids) else ""
        raise DatasetError(
            f"{what}: no label joins an example: {len(label_ids)} labels and {len(dataset_ids)} examples are unmatched "
            f"(a label's id: {label!r}; an example's id: {example!r})",
            f"ids must be equal to the letter; for {label!r}, {did_you_mean(label, dataset_ids)}",
        )
    note = (
        f"{what}: {unlabelled} examples have no label, {orphans} labels have no example" if unlabelled + orphans else ""
    )
    return Join(index, unlabelled, orphans, note)
