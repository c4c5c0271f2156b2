"""How often an edit reaches its target by its strength, beside the random control. An SVG figure for studies."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from omnisae import svg
from omnisae.errors import OmnisaeError
from omnisae.figure import Figure
from omnisae.report.words import clip, esc, percent, plural, whole
from omnisae_diffusion.views.told import strength

Count = tuple[int, int]
"""How many of how many (hits, n)."""

WIDTH, TALL = 440.0, 210.0
LEFT, RIGHT, BOTTOM, LINE = 44.0, 14.0, 36.0, 18.0
COLUMN = 200.0
"""Width of a column of the legend."""
COLOURS = ("var(--accent)", "var(--neuron)", "var(--pca)", "var(--ink)")
DASHES = ("", "7 3", "2 3", "9 3 2 3")
SHAPES = {
    "square": "-3.6,-3.6 3.6,-3.6 3.6,3.6 -3.6,3.6",
    "triangle": "0,-4.6 4.4,3.4 -4.4,3.4",
    "diamond": "0,-5 5,0 0,5 -5,0",
}
MARKS = ("circle", *SHAPES)
"""Lines differ by their marks and dashes, not by colour alone."""
CONTROL = "stroke:var(--random);stroke-width:2;stroke-dasharray:3 3"
NORMAL = 1.959964
ROOM = 26.0
"""Units between two strengths below which they are spaced evenly."""
APART = 3.0
"""Units between the marks of two lines at one strength, so that intervals do not hide each other."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the figure. `mark` names its points' shape; the control's has none of its own."""

    name: str
    counts: Sequence[Count]
    style: str
    mark: str = ""

    @property
    def colour(self) -> str:
        return self.style.split(";")[0].removeprefix("stroke:")


def strength_lines(
    strengths: Sequence[float],
    targets: Mapping[str, Sequence[Count]],
    control: Sequence[Count] | None = None,
    *,
    control_name: str = "random direction",
    what: str = "pictures of the target class",
    axis: str = "strength",
    title: str = "Target by strength",
) -> Figure:
    """A line for each target: the share of `what` by strength, with 95 % intervals (Wilson 1927), and the control's
    line beside them. `targets` and `control` give (hits, n) for every one of the ascending `strengths`.

    Raises OmnisaeError where numbers do not fit, strengths do not ascend, or there are more targets than ways to draw
    them apart (16).
    """
    _check(strengths, targets, control)
    drawn = [Line(name, counts, _style(i), MARKS[i % len(MARKS)]) for i, (name, counts) in enumerate(targets.items())]
    if control is not None:
        drawn.append(Line(control_name, control, CONTROL))
    plot = Plot(strengths, _top(drawn), head=LINE * math.ceil(len(drawn) / 2) + 12)
    parts = plot.axes(axis)
    for i, line in enumerate(drawn):
        parts += plot.line(line, APART * (i - (len(drawn) - 1) / 2))
        parts += _key(LEFT + COLUMN * (i % 2), LINE * (i // 2 + 0.5), line)
    n = sorted({count[1] for line in drawn for count in line.counts})
    told = whole(n[0]) if len(n) == 1 else f"{whole(n[0])} to {whole(n[-1])}"
    beside = f"Grey: {control_name}." if control is not None else "No control was run."
    caption = (
        f"Share of {what} by {axis}, {plural(len(targets), 'target')}; n = {told} at a point; upright: 95 % intervals "
        f"(Wilson). {beside}" + (" Strengths are evenly spaced." if plot.even else "")
    )
    said = [f"{line.name}: {', '.join(plot.told(line))}" for line in drawn]
    alt = f"Share of {what} by {axis}. {'; '.join(said)}"
    return Figure("text/html", svg.drawing(WIDTH, plot.height, parts, alt=alt), caption, alt, title)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927): the shares p with |hits/n − p| ≤ 1.96 √(p (1 − p) / n). NaN where n
    is 0."""
    if n == 0:
        return math.nan, math.nan
    p, z = hits / n, NORMAL
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)


class Plot:
    """A frame of shares (0 to `top`) over strengths: by their value, or evenly spaced where two would come too near."""

    def __init__(self, strengths: Sequence[float], top: float, head: float) -> None:
        self.strengths, self.top, self.head, self.height = strengths, top, head, head + TALL
        left, right = LEFT + 16, WIDTH - RIGHT - 16
        span = strengths[-1] - strengths[0]
        shares = [(one - strengths[0]) / span if span else 0.5 for one in strengths]
        self.even = any((b - a) * (right - left) < ROOM for a, b in pairwise(shares))
        if self.even:
            shares = [i / (len(strengths) - 1) for i in range(len(strengths))]
        self.x = [left + (right - left) * share for share in shares]

    def up(self, share: float) -> float:
        return self.head + (TALL - BOTTOM) * (1 - share / self.top)

    def axes(self, axis: str) -> list[str]:
        """Gridlines of shares, and the strengths that were tried."""
        base, parts, last = self.up(0.0), [], -math.inf
        for value in svg.ticks(0.0, self.top, 5):
            parts.append(svg.line(LEFT, self.up(value), WIDTH - RIGHT, self.up(value), kind="gridline"))
            parts.append(svg.text(LEFT - 6, self.up(value) + 4, percent(round(value, 6)), anchor="end"))
        parts.append(svg.line(LEFT, base, WIDTH - RIGHT, base, kind="axis"))
        for at, value in zip(self.x, self.strengths, strict=True):
            parts.append(svg.line(at, base, at, base + 4, kind="axis"))
            if at - last >= ROOM:
                parts.append(svg.text(at, base + 16, strength(value, self.strengths), anchor="middle"))
                last = at
        return [*parts, svg.text((LEFT + WIDTH - RIGHT) / 2, self.height - 4, axis, anchor="middle")]

    def line(self, line: Line, shift: float) -> list[str]:
        """A line with its intervals, and a mark with a tip at every strength where something was counted."""
        places = [at + shift for at, count in zip(self.x, line.counts, strict=True) if count[1]]
        counts = [count for count in line.counts if count[1]]
        tips = [tip for tip, count in zip(self.told(line), line.counts, strict=True) if count[1]]
        points = [(at, self.up(share(count))) for at, count in zip(places, counts, strict=True)]
        parts = []
        for at, count in zip(places, counts, strict=True):
            low, high = (svg.number(self.up(end)) for end in wilson(*count))
            ends = f'x1="{svg.number(at)}" y1="{low}" x2="{svg.number(at)}" y2="{high}"'
            parts.append(f'<line {ends} style="stroke:{line.colour};stroke-width:1.4;stroke-opacity:0.55"/>')
        if len(points) > 1:
            parts.append(svg.curve(points, style=line.style))
        return parts + [_mark(*point, line, f"{line.name}, {tip}") for point, tip in zip(points, tips, strict=True)]

    def told(self, line: Line) -> list[str]:
        """Every point in words."""
        out = []
        for value, count in zip(self.strengths, line.counts, strict=True):
            low, high = wilson(*count)
            within = f"{whole(count[0])} of {whole(count[1])}, {percent(low)} to {percent(high)}"
            out.append(f"{percent(share(count))} at {strength(value, self.strengths)} ({within})")
        return out


def _check(strengths: Sequence[float], targets: Mapping[str, Sequence[Count]], control: Sequence[Count] | None) -> None:
    if not strengths or any(not later > earlier for earlier, later in pairwise(strengths)):
        raise OmnisaeError(f"strengths are {list(strengths)}; they must ascend, and there must be one", "sort them")
    most = len(COLOURS) * len(DASHES)
    if not 0 < len(targets) <= most:
        raise OmnisaeError(f"{len(targets)} targets; 1 to {most} lines can be told apart", "draw them in parts")
    for name, counts in [*targets.items(), *([("the control", control)] if control is not None else [])]:
        if len(counts) != len(strengths):
            raise OmnisaeError(f"{name} has {len(counts)} counts for {len(strengths)} strengths", "give one for each")
        for hits, n in counts:
            if not 0 <= hits <= n:
                raise OmnisaeError(f"{name} has {hits} hits of {n}; hits lie within 0 and n", "give (hits, n)")


def share(count: Count) -> float:
    """Hits as a share; NaN where nothing was counted."""
    return count[0] / count[1] if count[1] else math.nan


def _top(lines: Sequence[Line]) -> float:
    """The end of the axis: a round share above all intervals."""
    highest = max((wilson(*count)[1] for line in lines for count in line.counts if count[1]), default=1.0)
    return next(end for end in (0.1, 0.2, 0.5, 1.0) if end >= highest)


def _style(number: int) -> str:
    dashes = DASHES[(number // len(COLOURS) + number) % len(DASHES)]
    return f"stroke:{COLOURS[number % len(COLOURS)]};stroke-width:2" + (f";stroke-dasharray:{dashes}" if dashes else "")


def _mark(x: float, y: float, line: Line, tip: str = "") -> str:
    """A filled mark in the line's colour; the control's is an open circle."""
    title = f"<title>{esc(tip)}</title>" if tip else ""
    if line.mark in SHAPES:
        look = f"fill:{line.colour};stroke:var(--paper);stroke-width:1"
        place = f'transform="translate({svg.number(x)} {svg.number(y)})"'
        return f'<polygon points="{SHAPES[line.mark]}" {place} style="{look}">{title}</polygon>'
    look = f"fill:{line.colour};stroke:var(--paper);stroke-width:1"
    if not line.mark:
        look = f"fill:var(--paper);stroke:{line.colour};stroke-width:1.6"
    return f'<circle cx="{svg.number(x)}" cy="{svg.number(y)}" r="3.9" style="{look}">{title}</circle>'


def _key(x: float, y: float, line: Line) -> list[str]:
    return [svg.key(x, y, clip(line.name, 26), style=line.style), _mark(x + 12, y, line)]
