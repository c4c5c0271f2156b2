"""Events: who took which item when. Filtered, numbered, put in order, and divided into histories and targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from omnisae.errors import DatasetError

Holdout = Literal["leave_one_out", "temporal", "none"]
Texts = Sequence[str] | np.ndarray
"""A column of texts."""


@dataclass(frozen=True)
class Events:
    """Events in the order of the file, by number: `owner` counts among `owners` (users, or the sessions of users where
    an example is one), `item` among `items`, both ids in the order in which they first appear. `users` are the users of
    the owners. `path` is for messages.
    """

    path: Path
    owners: tuple[str, ...]
    users: tuple[str, ...]
    items: tuple[str, ...]
    owner: Int[np.ndarray, " event"]
    item: Int[np.ndarray, " event"]
    time: Float[np.ndarray, " event"]

    @classmethod
    def of(cls, path: Path, user: Texts, owner: Texts, item: Texts, time: Float[np.ndarray, " event"]) -> "Events":
        """The events whose columns are these texts and times. An owner's user is that of its first event."""
        owners, codes = numbered(owner)
        items, numbers = numbered(item)
        first = np.full(len(owners), len(codes))
        np.minimum.at(first, codes, np.arange(len(codes)))
        return cls(path, owners, tuple(str(user[at]) for at in first), items, codes, numbers, time)

    def take(self, which: np.ndarray) -> "Events":
        """The events that an index or a mask picks, with the owners and items that are left."""
        owner, item = self.owner[which], self.item[which]
        kept, owner = _left(owner, len(self.owners))
        left, item = _left(item, len(self.items))
        return Events(
            self.path, tuple(self.owners[i] for i in kept), tuple(self.users[i] for i in kept),
            tuple(self.items[i] for i in left), owner, item, self.time[which],
        )  # fmt: skip


def numbered(texts: Texts) -> tuple[tuple[str, ...], Int[np.ndarray, " text"]]:
    """The different texts in the order in which they first appear, and the number of each text among them."""
    found = pa.array(texts, pa.string()).dictionary_encode()
    return tuple(found.dictionary.to_pylist()), np.asarray(found.indices.to_numpy(), dtype=np.int64)


def _left(codes: Int[np.ndarray, " event"], count: int) -> tuple[list[int], Int[np.ndarray, " event"]]:
    """The numbers that are still in use, in the order in which they first appear, and the codes among them."""
    first = np.full(count, len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    order = np.argsort(first, kind="stable")[: int((first < len(codes)).sum())]
    rank = np.zeros(count, dtype=np.int64)
    rank[order] = np.arange(len(order))
    return order.tolist(), rank[codes]


@dataclass(frozen=True)
class Histories:
    """Every example's events in order of time: those of example i are `start[i]` to `start[i + 1]` of `item` (numbers
    from 1; 0 stands for no item) and `time`. `known[i]` of them are the history, the next one, where there is one, is
    the target; `learn[i]` of them a recommender may learn from. `rows` are the items by number, `rows[0]` being item 1.
    """

    ids: tuple[str, ...]
    users: tuple[str, ...]
    start: Int[np.ndarray, " example+1"]
    item: Int[np.ndarray, " event"]
    time: Float[np.ndarray, " event"]
    known: Int[np.ndarray, " example"]
    learn: Int[np.ndarray, " example"]
    rows: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def history(self, row: int, most: int) -> Int[np.ndarray, " event"]:
        """The last `most` items that are known of an example."""
        stop = int(self.start[row] + self.known[row])
        return self.item[max(int(self.start[row]), stop - most) : stop]

    def target(self, row: int) -> int:
        """The item that came next; 0 where none did."""
        at = int(self.start[row] + self.known[row])
        return int(self.item[at]) if at < int(self.start[row + 1]) else 0

    def lesson(self, row: int) -> Int[np.ndarray, " event"]:
        """The items that a recommender may learn from."""
        return self.item[int(self.start[row]) : int(self.start[row] + self.learn[row])]


def check_items(
    events: Events, known: Sequence[str] | None, unknown: Literal["refuse", "drop"]
) -> tuple[Events, list[str]]:
    """The events whose items are known. Raises DatasetError where some are not and `unknown` says to refuse."""
    if known is None:
        return events, []
    names = set(known)
    strangers = [name for name in events.items if name not in names]
    if not strangers:
        return events, []
    strange = np.array([name not in names for name in events.items])[events.item]
    said = (
        f"{len(strangers)} items of {events.path.name} are not among the {len(known)} known ones, e.g. {strangers[0]!r}"
    )
    if unknown == "refuse" or strange.all():
        raise DatasetError(
            f"{events.path}: field item: {said} ({int(strange.sum())} events)",
            "add them to the file of items, or set `dataset.unknown: drop` to leave these events out",
        )
    return events.take(~strange), [f"{said}; their {int(strange.sum())} events are left out"]


def core(events: Events, per_user: int, per_item: int) -> tuple[Events, list[str]]:
    """The events that remain when owners with fewer than `per_user` and items with fewer than `per_item` events are
    taken out until there are none. Raises DatasetError where nothing remains.
    """
    total = len(events.item)
    while True:
        keep = _frequent(events.owner, per_user) & _frequent(events.item, per_item)
        if keep.all():
            break
        events = events.take(keep)
    if not len(events.item):
        raise DatasetError(
            f"{events.path}: no event remains of {total} when every user must have {per_user} events and every item "
            f"{per_item}",
            "lower dataset.user_events or dataset.item_events",
        )
    gone = total - len(events.item)
    said = f"{gone} of {total} events are left out: their user has fewer than {per_user} or their item fewer than"
    return events, [f"{said} {per_item} of those left"] if gone else []


def histories(
    events: Events, *, holdout: Holdout, cut: float, by_number: bool, short: Literal["drop", "refuse"]
) -> Histories:
    """Owners' events in order of time (those of one time in the order of the file), with what is held out.

    `leave_one_out`: the target is the last event, and a recommender learns from all but the last two. `temporal`: the
    events after the quantile `cut` of all times are held out; the target is the first of them. `none`: no target.
    Owners without a history are left out, or refused where `short` says so. `by_number`: items' ids are their numbers.
    Raises DatasetError naming the file and the field.
    """
    rows, item = _numbers(events) if by_number else (events.items, events.item + 1)
    owner = events.owner
    place = np.lexsort((np.arange(len(item)), events.time, owner))
    counts = np.bincount(owner, minlength=len(events.owners))
    start = np.r_[0, np.cumsum(counts)]
    item, time = item[place], events.time[place]
    if holdout == "leave_one_out":
        known, learn = counts - 1, np.maximum(counts - 2, 0)
    elif holdout == "temporal":
        before = time <= np.quantile(time, cut)
        known = np.add.reduceat(before, start[:-1])
        learn = known
    else:
        known, learn = counts, counts
    whole = Histories(events.owners, events.users, start, item, time, known, learn, rows)
    return _without_short(whole, events.path, holdout, short)


def _without_short(whole: Histories, path: Path, holdout: Holdout, short: str) -> Histories:
    keep = np.flatnonzero(whole.known > 0)
    gone = np.flatnonzero(whole.known <= 0)
    if not len(gone):
        return whole
    why = {
        "leave_one_out": "have one event alone, which would be both history and target",
        "temporal": "have no event before the cut",
        "none": "have no event",
    }[holdout]
    said = f"{len(gone)} of {len(whole.ids)} users {why}"
    if short == "refuse" or not len(keep):
        raise DatasetError(
            f"{path}: field user: {said}, e.g. {whole.ids[int(gone[0])]!r}",
            "set `dataset.short: drop` to leave them out, or choose another holdout",
        )
    spans = [np.arange(whole.start[row], whole.start[row + 1]) for row in keep]
    at = np.concatenate(spans)
    return Histories(
        tuple(whole.ids[row] for row in keep), tuple(whole.users[row] for row in keep),
        np.r_[0, np.cumsum([len(one) for one in spans])], whole.item[at], whole.time[at],
        whole.known[keep], whole.learn[keep], whole.rows, (f"{said}; they are left out",),
    )  # fmt: skip


def _frequent(codes: Int[np.ndarray, " event"], least: int) -> np.ndarray:
    return np.asarray(np.bincount(codes)[codes] >= least) if len(codes) else np.ones(0, dtype=bool)


def _numbers(events: Events) -> tuple[tuple[str, ...], Int[np.ndarray, " event"]]:
    """Items whose ids are their numbers. Raises DatasetError where one is no whole number above 0."""
    wrong = [name for name in events.items if not name.isdecimal() or int(name) < 1]
    if wrong:
        raise DatasetError(
            f"{events.path}: field item: {wrong[0]!r} is no whole number above 0, and with `dataset.numbering: number` "
            "ids are the items' rows",
            "use `dataset.numbering: appearance`",
        )
    number = np.array([int(name) for name in events.items])
    return tuple(str(row) for row in range(1, int(number.max()) + 1)), number[events.item]
