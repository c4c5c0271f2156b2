"""The visualizer `recommendation.sequence`: a history, item by item, with the latent's strength at each."""

from collections.abc import Sequence

import numpy as np

from omnisae import svg
from omnisae.report.scale import colour
from omnisae.report.visualizer import Drawing, Figure, Firing, LatentView, Visualizer
from omnisae.report.words import clip, plural, short
from omnisae_recommendation.sessions import AXIS, Sessions

WIDE, ROW, NUMBER, BAR = 480, 20, 28, 96
"""Widths and heights of the drawing: all of it, a line, the event's number, the longest bar."""
LETTERS = 48
"""Letters of a title that fit."""


class Events(Visualizer):
    """The events of a history in order of time, each with its item's title and attributes; where the latent fires a bar
    stands beside it, on the latent's one scale. Of long histories the events around the strongest are drawn."""

    axes = frozenset({AXIS})

    def __init__(self, events: int) -> None:
        self.events = events

    def title(self) -> str:
        return "Sequence"

    def applies(self, view: LatentView) -> bool:
        return super().applies(view) and isinstance(view.dataset, Sessions)

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        sessions = view.dataset
        assert isinstance(sessions, Sessions)
        history = sessions.history(firing.row)
        values = strengths(view, firing, sessions)
        shown = window(values, self.events)
        parts, said = [svg.line(WIDE - BAR, 0, WIDE - BAR, ROW * len(shown), kind="axis")], []
        for line, event in enumerate(shown):
            item, value, y = int(history[event]), float(values[event]), ROW * line
            title = sessions.items.titles[item - 1]
            facts = ", ".join(v for column in sessions.items.attributes.values() for v in column[item - 1])
            parts.append(svg.text(NUMBER - 8, y + 14, str(event + 1), anchor="end"))
            parts.append(
                svg.text(NUMBER, y + 14, clip(f"{title} · {facts}" if facts else title, LETTERS), kind="label")
            )
            if value > 0:
                part = min(value / view.ceiling, 1.0) if view.ceiling > 0 else 0.0
                tip = f"{title}: {short(value)}"
                parts.append(
                    svg.rect(WIDE - BAR, y + 4, max(BAR * part, 1), 12, kind="level", fill=colour(part), tip=tip)
                )
                said.append((value, f"{title} ({short(value)})"))
        best = ", ".join(words for _, words in sorted(said, key=lambda pair: -pair[0])[:3])
        alt = f"fires at {int((values > 0).sum())} of {plural(len(history), 'event')}" + (
            f"; most at {best}" if best else ""
        )
        left = "" if len(shown) == len(history) else f", of which {len(shown)} around the strongest are drawn"
        caption = f"{plural(len(history), 'event')} in order of time{left}; longest bar {short(view.ceiling)}"
        target = sessions.histories.target(firing.row)
        if target:
            caption += f"; next came {sessions.items.titles[target - 1]}"
        return [Figure("text/html", svg.drawing(WIDE, ROW * len(shown), parts, alt=alt), caption, alt)]


def strengths(view: LatentView, firing: Firing, sessions: Sessions) -> np.ndarray:
    """The latent's value at every event of a history; one of the role `last` is at the last of them."""
    events = len(sessions.history(firing.row))
    out = np.zeros(events)
    axis = view.hook.axes.index(AXIS)
    if "mask" in view.hook.roles:  # a mask stands behind the last event, at none
        real = firing.coords[:, axis] >= 0
        coords, values = firing.coords[real, axis], firing.values[real]
    else:
        coords, values = firing.coords[:, axis], firing.values
    at = np.where(coords < 0, events - 1, coords - (sessions.length - events))
    inside = (at >= 0) & (at < events)
    np.maximum.at(out, at[inside], values[inside])
    return out


def window(values: np.ndarray, most: int) -> range:
    """The events that are drawn: all, or `most` of them with the strongest in the middle."""
    if len(values) <= most:
        return range(len(values))
    start = int(np.clip(int(np.argmax(values)) - most // 2, 0, len(values) - most))
    return range(start, start + most)
