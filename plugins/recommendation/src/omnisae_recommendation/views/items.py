"""The visualizer `recommendation.items`: the items at whose events a latent fires, and the concepts they share."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float, Int

from omnisae.extract.split import SELECT, TEST
from omnisae.report.visualizer import Drawing, Figure, LatentView, Visualizer
from omnisae.report.visualizers.once import Once
from omnisae.report.words import clip, plural, share, short
from omnisae_recommendation.sessions import AXIS, Sessions
from omnisae_recommendation.views.sequence import strengths

LETTERS = 26
"""Letters of an item that fit beside its numbers."""
FEWEST = 2
"""Select events that an item must have to be chosen."""


@dataclass(frozen=True)
class Counted:
    """Of each item (number − 1) on one side: events, those at which the latent fires, and the sum of its values."""

    events: Int[np.ndarray, " item"]
    fires: Int[np.ndarray, " item"]
    total: Float[np.ndarray, " item"]

    @property
    def mean(self) -> Float[np.ndarray, " item"]:
        """The mean over all events of an item, one silent event more, so that a single firing does not lead."""
        return np.asarray(self.total / (self.events + 1))


class Items(Visualizer):
    """Two tables: items by the latent's mean at their events, and concepts by how much more common they are where it
    fires. What stands in them is chosen on SELECT; the numbers are of TEST."""

    axes = frozenset({AXIS})

    def __init__(self, items: int, concepts: int) -> None:
        self.items, self.concepts = items, concepts
        self._seen: Once[dict[tuple[int, bytes], np.ndarray]] = Once(lambda dataset: {})

    def title(self) -> str:
        return "Items of this latent"

    def applies(self, view: LatentView) -> bool:
        return super().applies(view) and isinstance(view.dataset, Sessions) and view.firing_in is not None

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        sessions = view.dataset
        assert isinstance(sessions, Sessions)
        choose, judge = self._count(view, sessions, SELECT), self._count(view, sessions, TEST)
        if not choose.fires.any() or not judge.fires.any():
            return ()
        return [*self._items(sessions, choose, judge), *self._concepts(sessions, choose, judge)]

    def _count(self, view: LatentView, sessions: Sessions, side: int) -> Counted:
        known = view.known(side)
        items = len(sessions.items.ids)
        fires, total = np.zeros(items, dtype=np.int64), np.zeros(items)
        for row in np.flatnonzero(known & (view.strength > 0)).tolist():
            assert view.firing_in is not None
            values = strengths(view, view.firing_in(row), sessions)
            at = sessions.history(row) - 1
            np.add.at(total, at, values)
            np.add.at(fires, at[values > 0], 1)
        seen = self._seen(sessions)
        key = (side, known.tobytes())
        if key not in seen:
            rows = np.flatnonzero(known).tolist()
            taken = np.concatenate([sessions.history(row) for row in rows]) if rows else np.zeros(0, dtype=np.int64)
            seen[key] = np.bincount(taken - 1, minlength=items) if len(taken) else np.zeros(items, dtype=np.int64)
        return Counted(seen[key], fires, total)

    def _items(self, sessions: Sessions, choose: Counted, judge: Counted) -> list[Figure]:
        order = np.argsort(-choose.mean, kind="stable")
        best = [int(i) for i in order if choose.fires[i] and choose.events[i] >= FEWEST][: self.items]
        if not best:
            return []
        names = list(sessions.items.attributes)
        head = ["item", "n", "fires at", "mean"]
        rows = []
        for i in best:
            facts = ", ".join(value for name in names for value in sessions.items.attributes[name][i])
            text = clip(f"{sessions.items.titles[i]} · {facts}" if facts else sessions.items.titles[i], LETTERS)
            n, fires = int(judge.events[i]), int(judge.fires[i])
            mean = short(float(judge.total[i] / fires)) if fires else "–"
            rows.append(([text], [str(n), share(fires / n if n else None, 2), mean]))
        caption = (
            f"{plural(len(best), 'item')} by the latent's mean at their select events ({FEWEST} at least); the numbers "
            "are of test events: how many, at what share of them it fires, and its mean value there."
        )
        alt = f"strongest at {', '.join(sessions.items.titles[i] for i in best[:3])}"
        return [Figure("text/html", _table(head, rows), caption, alt, "Items")]

    def _concepts(self, sessions: Sessions, choose: Counted, judge: Counted) -> list[Figure]:
        names, has = sessions.concepts.names, sessions.concepts.has
        if not names:
            return []
        lift = _shares(choose.fires, has) - _shares(choose.events, has)
        best = [int(i) for i in np.argsort(-lift, kind="stable") if lift[i] > 0][: self.concepts]
        within, among = _shares(judge.fires, has), _shares(judge.events, has)
        rows = [([names[i]], [share(float(within[i])), share(float(among[i]))]) for i in best]
        if not rows:
            return []
        caption = (
            f"Concepts of items by how much more common they are where it fires, on select events; the numbers are of "
            f"test events: {int(judge.fires.sum())} at which it fires, {int(judge.events.sum())} in all."
        )
        alt = f"most of all {names[best[0]]}: {share(float(within[best[0]]))} against {share(float(among[best[0]]))}"
        return [
            Figure("text/html", _table(["concept", "where it fires", "everywhere"], rows), caption, alt, "Concepts")
        ]


def _shares(count: Int[np.ndarray, " item"], has: np.ndarray) -> Float[np.ndarray, " concept"]:
    """The share of so counted events whose item has each concept."""
    return np.asarray(count @ has / max(int(count.sum()), 1))


def _table(head: Sequence[str], rows: Sequence[tuple[Sequence[str], Sequence[str]]]) -> bytes:
    """Text cells, then cells of figures; every text is escaped."""
    figures = len(rows[0][1])
    heads = "".join(
        f"<th scope='col'{' class=num' if i >= len(head) - figures else ''}>{escape(word)}</th>"
        for i, word in enumerate(head)
    )
    body = "".join(
        "<tr>"
        + f"<th scope='row'>{escape(texts[0])}</th>"
        + "".join(f"<td>{escape(text)}</td>" for text in texts[1:])
        + "".join(f"<td class='num'>{escape(number)}</td>" for number in numbers)
        + "</tr>"
        for texts, numbers in rows
    )
    return f"<table class='data plain'><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>".encode()
