"""Lists of items as HTML that the report puts into its pages. Every text is escaped."""

from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Bool, Int

from omnisae.figure import Figure
from omnisae_recommendation.sessions import Sessions
from omnisae_recommendation.studies.lists import Lists

MARK = "●"
"""Stands before items that carry the concept: colour alone would not do."""
SHOWN = 2
"""Users whose lists are shown."""
TAIL = 3
"""Items of the history that are shown, the last ones."""


def before_and_after(
    sessions: Sessions, plain: Lists, edited: Lists, has: Bool[np.ndarray, " item"], name: str, way: str
) -> list[Figure]:
    """The lists of the users whose share of the concept changes most, side by side."""
    change = np.abs(has[edited.top - 1].mean(axis=1) - has[plain.top - 1].mean(axis=1))
    out = []
    for place in np.argsort(-change, kind="stable")[:SHOWN].tolist():
        row = int(plain.rows[place])
        target = sessions.histories.target(row)
        columns = [("before", plain.top[place]), ("after", edited.top[place])]
        html = _table(sessions, columns, has, target)
        counts = [int(has[items - 1].sum()) for _, items in columns]
        took = "; ".join(sessions.items.titles[item - 1] for item in sessions.history(row)[-TAIL:])
        caption = (
            f"{name} switched {way}, user {sessions.ids[row]}: {counts[0]} of the {len(plain.top[place])} best items "
            f"carry it before and {counts[1]} after ({MARK}). Taken last: {took}. Of all users they change most; ★ is "
            "what came next."
        )
        out.append(Figure("text/html", html.encode(), caption, caption, f"{name}, switched {way}"))
    return out


def _table(
    sessions: Sessions,
    columns: Sequence[tuple[str, Int[np.ndarray, " rank"]]],
    has: Bool[np.ndarray, " item"],
    target: int,
) -> str:
    head = "".join(f"<th scope='col'>{escape(words)}</th>" for words, _ in columns)
    body = []
    for rank in range(max(len(items) for _, items in columns)):
        cells = "".join(_cell(sessions, items, rank, has, target) for _, items in columns)
        body.append(f"<tr>{cells}</tr>")
    return f"<table class='data plain'><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _cell(
    sessions: Sessions, items: Int[np.ndarray, " rank"], rank: int, has: Bool[np.ndarray, " item"], target: int
) -> str:
    if rank >= len(items):
        return "<td></td>"
    item = int(items[rank])
    marks = (MARK + " " if has[item - 1] else "") + ("★ " if item == target else "")
    return f"<td>{rank + 1}. {marks}{escape(sessions.items.titles[item - 1])}</td>"
