"""A chart of edits: the target changed, beside the same push in other directions."""

from collections.abc import Mapping, Sequence
from typing import Any

from omnisae import svg
from omnisae.figure import Figure
from omnisae.report.words import clip, esc, named, percent, plural

WIDTH = 440
_LEFT, _RIGHT, _TOP, _ROW, _BOTTOM = 138, 54, 40, 24, 26
_STROKES = {
    "random direction": "stroke:var(--neuron);stroke-width:2.5",
    "other latents": "stroke:var(--pca);stroke-width:2.5;stroke-dasharray:3 2",
    "others changed": "stroke:var(--soft);stroke-width:2.5;stroke-dasharray:1 2",
}
"""Controls differ by their dashes, not by colour alone."""


def chart(rows: Sequence[Mapping[str, Any]], switch: str) -> Figure:
    """A bar a latent: the share of target decisions that change, with its interval, and upright lines for what it is
    compared with. `rows` are those of the study's table."""
    height = _TOP + _ROW * len(rows) + _BOTTOM
    values = [value for row in rows for value in (row["target changed"], row["high"], *_beside(row).values())]
    top = max([0.05, *(value for value in values if value == value)])

    def across(share: float) -> float:
        return float(_LEFT + (WIDTH - _LEFT - _RIGHT) * min(share, top) / top)

    parts = _legend()
    for tick in svg.ticks(0.0, top, 4):
        parts.append(svg.line(across(tick), _TOP - 4, across(tick), height - _BOTTOM, kind="gridline"))
        parts.append(svg.text(across(tick), height - 8, percent(tick), anchor="middle"))
    for i, row in enumerate(rows):
        parts += _line(row, _TOP + _ROW * i, across)
    said = "; ".join(
        f"latent {row['latent']}: {percent(row['target changed'])}, random direction {percent(row['random direction'])}"
        for row in rows
    )
    caption = (
        f"Share of target decisions that change when a latent is switched {switch} in its region; "
        f"{plural(len(rows), 'latent')}, each on its own test pictures (n in the table). Thin line: 95 % interval."
    )
    alt = f"Target changed by latent. {said}"
    return Figure("text/html", svg.drawing(WIDTH, height, parts, alt=alt), caption, alt, "Target changed")


def _line(row: Mapping[str, Any], y: float, across: Any) -> list[str]:
    value = row["target changed"] if row["target changed"] == row["target changed"] else 0.0
    label = f"{named(row['latent'])} {row['concept'] or row['target']}"
    parts = [
        svg.text(_LEFT - 8, y + 15, clip(label, 20), anchor="end", kind="label"),
        svg.rect(
            across(0.0), y + 4, max(across(value) - across(0.0), 1.0), _ROW - 10, kind="bar",
            tip=f"{label}: {percent(value)} of {row['pictures']} pictures",
        ),
        svg.text(WIDTH - _RIGHT + 8, y + 15, percent(row["target changed"])),
    ]  # fmt: skip
    if row["low"] == row["low"]:
        middle = y + 4 + (_ROW - 10) / 2
        parts.append(svg.line(across(row["low"]), middle, across(row["high"]), middle, kind="axis"))
    for name, share in _beside(row).items():
        if share == share:
            x = across(share)
            parts.append(_stroke(x, y + 1, x, y + _ROW - 3, _STROKES[name], f"{name}: {percent(share)}"))
    return parts


def _beside(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(row[name]) for name in _STROKES}


def _legend() -> list[str]:
    parts, x = [], _LEFT - 30.0
    for name, style in _STROKES.items():
        parts += [_stroke(x, 8, x, 22, style, name), svg.text(x + 6, 19, name)]
        x += 16 + 6 * len(name)
    return parts


def _stroke(x1: float, y1: float, x2: float, y2: float, style: str, tip: str) -> str:
    ends = " ".join(f'{k}="{svg.number(v)}"' for k, v in zip(("x1", "y1", "x2", "y2"), (x1, y1, x2, y2), strict=True))
    return f'<line {ends} style="{style}"><title>{esc(tip)}</title></line>'
