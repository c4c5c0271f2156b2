"""Held-out events with the codes there: what studies of items and concepts look at."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from omnisae.errors import DatasetError
from omnisae.postings.postings import Postings
from omnisae.studies.study import Material
from omnisae_recommendation.sessions import AXIS, Sessions, sessions_of

BINS = 8
"""Classes of items by how often they are taken, within which one is as popular as another."""


@dataclass(frozen=True)
class Held:
    """The encoded tokens at which there is an event: `token` (rows of the token table), the number of the item there,
    `side` of the split. `codes` are token × posting list, the rows those of `token`. `bin` is every item's class by
    popularity (item number − 1).
    """

    sessions: Sessions
    token: Int[np.ndarray, " event"]
    item: Int[np.ndarray, " event"]
    side: Int[np.ndarray, " event"]
    codes: csr_array
    bin: Int[np.ndarray, " item"]

    def on(self, side: int) -> Int[np.ndarray, " row"]:
        """The rows on one side of the split."""
        return np.flatnonzero(self.side == side)


def held(material: Material, asks: str) -> Held:
    """The events of a run's posting lists. Raises DatasetError where tokens are no events."""
    sessions = sessions_of(material.dataset, asks)
    postings = material.postings
    if AXIS not in postings.hook.axes:
        raise DatasetError(
            f"{asks} looks at events, and the tokens of {postings.hook.name!r} are whole users",
            "leave this study out, or hook a model that reads events (SASRec, GRU4Rec, BERT4Rec)",
        )
    item = items_at(postings, sessions)
    token = np.flatnonzero(item > 0)
    if not len(token):
        raise DatasetError(
            f"{asks}: no encoded token has an event", "let events through: tokens.evaluate, tokens.select"
        )
    codes = codes_of(postings)[token]
    side = np.asarray(postings.split)[np.asarray(postings.example)[token]].astype(np.int64)
    return Held(sessions, token, item[token], side, codes, popularity_bins(sessions))


def items_at(postings: Postings, sessions: Sessions) -> Int[np.ndarray, " token"]:
    """The number of the item at every encoded token; 0 where there is none (a mask). A token of the role `last` is at
    the last event."""
    example, coords, role = (np.asarray(part) for part in (postings.example, postings.coords, postings.role))
    at = coords[:, postings.hook.axes.index(AXIS)].astype(np.int64)
    out = np.zeros(len(at), dtype=np.int64)
    last = [i for i, name in enumerate(postings.hook.roles) if name == "last"]
    for row in np.unique(example):
        tokens = postings.tokens_of(int(row))
        history = sessions.history(int(row))
        place = np.where(np.isin(role[tokens], last), sessions.length - 1, at[tokens])
        into = place - (sessions.length - len(history))
        real = (place >= 0) & (into >= 0)
        out[tokens] = np.where(real, history[np.clip(into, 0, len(history) - 1)], 0)
    return out


def codes_of(postings: Postings) -> csr_array:
    """All codes, token × posting list."""
    offsets = np.asarray(postings.offsets)
    owner = np.repeat(np.arange(len(postings.poles)), np.diff(offsets))
    entries = (np.asarray(postings.value), (np.asarray(postings.token, dtype=np.int64), owner))
    return csr_array(entries, shape=(postings.n_tokens, len(postings.poles)))


def popularity_bins(sessions: Sessions, bins: int = BINS) -> Int[np.ndarray, " item"]:
    """Every item's class by the number of its events: classes of as many events each, the rarest first."""
    count = popularity(sessions)
    order = np.argsort(count, kind="stable")
    share = (np.cumsum(count[order]) - count[order] / 2) / max(count.sum(), 1)
    out = np.empty(len(count), dtype=np.int64)
    out[order] = np.minimum((share * bins).astype(np.int64), bins - 1)
    return out


def popularity(sessions: Sessions) -> Int[np.ndarray, " item"]:
    """How often each item was taken, by all users, in what a recommender may learn from."""
    h = sessions.histories
    learnt = np.arange(len(h.item)) - np.repeat(h.start[:-1], np.diff(h.start)) < np.repeat(h.learn, np.diff(h.start))
    return np.bincount(h.item[learnt] - 1, minlength=len(h.rows))


def matched(
    positive: Bool[np.ndarray, " event"],
    bin_of: Int[np.ndarray, " event"],
    most: int,
    random: np.random.Generator,
) -> tuple[Int[np.ndarray, " pick"], Bool[np.ndarray, " pick"]]:
    """As many negatives as positives, class by class of popularity: the picked events, and which are positive.

    At most `most` positives. Where a class holds fewer negatives, as many positives are left out.
    """
    rows, labels = [], []
    keep = np.flatnonzero(positive)
    if len(keep) > most:
        keep = np.sort(random.choice(keep, most, replace=False))
    chosen = np.zeros(len(positive), dtype=bool)
    chosen[keep] = True
    for kind in np.unique(bin_of[keep]):
        yes, no = np.flatnonzero(chosen & (bin_of == kind)), np.flatnonzero(~positive & (bin_of == kind))
        n = min(len(yes), len(no))
        rows += [np.sort(random.permutation(yes)[:n]), np.sort(random.permutation(no)[:n])]
        labels += [np.ones(n, dtype=bool), np.zeros(n, dtype=bool)]
    if not rows:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    return np.concatenate(rows), np.concatenate(labels)


def counts(
    codes: csr_array, positive: Bool[np.ndarray, " row"], level: Float[np.ndarray, " list"]
) -> tuple[Int[np.ndarray, " list"], Int[np.ndarray, " list"]]:
    """True and false positives of every list, counted as firing where its value exceeds `level`."""
    rows = np.repeat(np.arange(codes.shape[0]), np.diff(codes.indptr))
    fires = codes.data > level[codes.indices]
    own = codes.indices[fires]
    yes = positive[rows[fires]]
    n = codes.shape[1]
    return np.bincount(own[yes], minlength=n), np.bincount(own[~yes], minlength=n)


def f1(tp: np.ndarray, fp: np.ndarray, positives: int) -> Float[np.ndarray, " list"]:
    """2·TP / (TP + FP + positives); 0 where nothing fires."""
    return np.asarray(2 * tp / np.maximum(tp + fp + positives, 1))
