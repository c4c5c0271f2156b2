"""The visualizer `diffusion.trajectory`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from omnisae import svg
from omnisae.report.visualizer import Drawing, Figure, Firing, LatentView, Visualizer
from omnisae.report.words import plural, short, whole
from omnisae_diffusion.views.steps import AXIS, Clock, clock, further, profile

WIDTH, TALL, LOW = 420.0, 214.0, 112.0
"""Width of all figures; height of the one over the dataset, and of one example's."""
LEFT, RIGHT, TOP, BOTTOM = 44.0, 10.0, 26.0, 34.0
LEVELS = (0.1, 0.9)
PLACES = (AXIS, "y", "x", "position")
"""Axes whose largest value needs no mention: tokens lie along them."""
OWN = "stroke:var(--accent);stroke-width:2.2"
REST = "stroke:var(--neuron);stroke-width:2;stroke-dasharray:5 3"
FILL = {OWN: "fill:var(--accent);fill-opacity:0.16", REST: "fill:var(--neuron);fill-opacity:0.14"}
"""Lines differ by dashes, not by colour alone."""


@dataclass(frozen=True, slots=True)
class Course:
    """A latent's strength by step over several examples: its mean and between which values 80 % of them lie."""

    mean: Float[np.ndarray, " step"]
    low: Float[np.ndarray, " step"]
    high: Float[np.ndarray, " step"]
    n: int


@dataclass(frozen=True, slots=True)
class Courses:
    """Those of the strongest examples, and of all scored ones: of `scored` in all, evenly many are read."""

    time: Clock
    top: Course
    all: Course
    scored: int
    further: str


class Trajectory(Visualizer):
    """The latent's strength (its largest value at a step) from noise to picture: the mean and the 10–90 % band over
    examples, those in which it is strongest apart from all that were scored; and every drawn example's own line."""

    axes = frozenset({AXIS})

    def __init__(self, top: int, examples: int) -> None:
        self.top, self.examples = top, examples
        self._held: tuple[LatentView, Courses | None] | None = None

    def title(self) -> str:
        return "Strength by step"

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        every = profile(firing)
        (time, read), courses = clock(view, len(every)), self._courses(view)
        values = every[read]
        if courses is not None and len(courses.all.mean) != len(values):
            courses = None  # this example has steps of its own
        strongest = int(values.argmax())
        alt = f"Strength at {plural(len(values), 'step')} from noise to picture: " + (
            f"fires at {int((values > 0).sum())}, strongest {short(float(values[strongest]))} at {time.noun} "
            f"{time.name(strongest)}"
            if values[strongest] > 0
            else "silent at all of them"
        )
        frame = Frame(time, LOW, view.ceiling)
        parts, keys = frame.axes(), [("this example", OWN)]
        if courses is not None:
            parts += frame.line(courses.all.mean, REST)
            keys.append((f"mean of {whole(courses.all.n)}", REST))
            mean = short(float(courses.all.mean[strongest]))
            alt += (
                f"; the mean of {plural(courses.all.n, 'example')} there is {mean}, the largest {short(view.ceiling)}"
            )
        parts += frame.line(values, OWN) + legend(keys)
        return [Figure("text/html", svg.drawing(WIDTH, LOW, parts, alt=alt), further(firing, PLACES), alt)]

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        courses = self._courses(view)
        if courses is None:
            return ()
        time = courses.time
        top, rest = courses.top, courses.all
        frame = Frame(time, TALL, float(max(top.high.max(), top.mean.max(), rest.high.max(), rest.mean.max())))
        parts = frame.band(rest, FILL[REST]) + frame.band(top, FILL[OWN]) + frame.axes()
        parts += frame.line(rest.mean, REST) + frame.line(top.mean, OWN)
        parts += legend([(f"strongest {whole(top.n)}", OWN), (f"all scored, n = {whole(rest.n)}", REST)])
        of = f" (of {whole(courses.scored)}, evenly picked)" if rest.n < courses.scored else ""
        largest = f" and {courses.further}" if courses.further else ""
        caption = (
            f"The latent's strength at each step, its largest value over the tokens{largest}: mean and 10–90 % band of "
            f"the {plural(top.n, 'example')} in which it is strongest, select and test, and of all n = {whole(rest.n)} "
            f"scored ones{of}, the silent ones with 0."
            + ("" if time.by_time else " Steps are evenly spaced: their times do not run one way.")
        )
        alt = (
            f"Strength by {time.noun} from noise to picture. Strongest {plural(top.n, 'example')}: {peak(top, time)}. "
            f"All {whole(rest.n)} scored: {peak(rest, time)}"
        )
        return [Figure("text/html", svg.drawing(WIDTH, TALL, parts, alt=alt), caption, alt, self.title())]

    def _courses(self, view: LatentView) -> Courses | None:
        """What a view's examples have in common, found once a view; None where it cannot be told."""
        if self._held is None or self._held[0] is not view:
            self._held = (view, self._read(view))
        return self._held[1]

    def _read(self, view: LatentView) -> Courses | None:
        known = np.flatnonzero(view.known())
        order = known[np.argsort(-view.strength[known], kind="stable")]
        strongest = order[: self.top][view.strength[order[: self.top]] > 0]
        if view.firing_in is None or not len(strongest):
            return None
        first = view.firing_in(int(strongest[0]))
        some = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), self.examples)).round().astype(int))]
        time, read = clock(view, first.sizes[AXIS])
        top, rest = (_course(view, rows, first.sizes[AXIS], read) for rows in (strongest, some))
        return Courses(time, top, rest, len(known), further(first, PLACES)) if top and rest else None


def _course(view: LatentView, rows: Int[np.ndarray, " row"], steps: int, read: list[int]) -> Course | None:
    """The course over these examples at the steps read. None where one of them has another number of steps."""
    values = np.zeros((len(rows), steps), dtype=np.float32)
    for i, row in enumerate(rows.tolist()):
        if view.strength[row] > 0 and view.firing_in is not None:
            own = profile(view.firing_in(row))
            if len(own) != steps:
                return None
            values[i] = own
    values = values[:, read]
    low, high = np.quantile(values, LEVELS, axis=0)
    return Course(values.mean(axis=0), low, high, len(rows))


def peak(course: Course, time: Clock) -> str:
    """A course in words."""
    step = int(course.mean.argmax())
    first, most, last = (short(float(course.mean[i])) for i in (0, step, -1))
    within = f"80 % of them within {short(float(course.low[step]))} to {short(float(course.high[step]))}"
    return (
        f"mean {first} at {time.name(0)}, largest {most} at {time.name(step)} ({within}), {last} at "
        f"{time.name(len(course.mean) - 1)}"
    )


class Frame:
    """A frame of strength (0 to `high`) over the time from noise (left) to picture (right)."""

    def __init__(self, time: Clock, height: float, high: float) -> None:
        self.time, self.height, self.high = time, height, high if high > 0 else 1.0
        self._x = LEFT + (WIDTH - LEFT - RIGHT) * time.places()

    def up(self, value: float) -> float:
        return TOP + (self.height - TOP - BOTTOM) * (1 - min(value / self.high, 1.0))

    def line(self, values: Float[np.ndarray, " step"], style: str) -> list[str]:
        """A line; a dot for a single step, which makes none."""
        points = list(zip(self._x.tolist(), map(self.up, values.tolist()), strict=True))
        if len(points) > 1:
            return [svg.curve(points, style=style)]
        x, y = points[0]
        return [f'<circle cx="{svg.number(x)}" cy="{svg.number(y)}" r="3.5" fill="none" style="{style}"/>']

    def band(self, course: Course, style: str) -> list[str]:
        """What lies between the lower and the upper level."""
        x = self._x.tolist()
        there = [f"{svg.number(a)},{svg.number(self.up(v))}" for a, v in zip(x, course.high.tolist(), strict=True)]
        back = [f"{svg.number(a)},{svg.number(self.up(v))}" for a, v in zip(x, course.low.tolist(), strict=True)]
        return [f'<polygon points="{" ".join([*there, *reversed(back)])}" style="{style}"/>']

    def axes(self) -> list[str]:
        """Gridlines of strength, the axis of time with the names of some steps, and which end is which."""
        base, parts = self.height - BOTTOM, []
        for value in svg.ticks(0.0, self.high, 4 if self.height > LOW else 2):
            parts.append(svg.line(LEFT, self.up(value), WIDTH - RIGHT, self.up(value), kind="gridline"))
            parts.append(svg.text(LEFT - 6, self.up(value) + 4, short(value), anchor="end"))
        parts.append(svg.line(LEFT, base, WIDTH - RIGHT, base, kind="axis"))
        for step in self._named():
            x = float(self._x[step])
            parts.append(svg.line(x, base, x, base + 4, kind="axis"))
            parts.append(svg.text(x, base + 15, self.time.name(step), anchor="middle"))
        parts.append(svg.text(LEFT, self.height - 5, "noise"))
        parts.append(svg.text((LEFT + WIDTH - RIGHT) / 2, self.height - 5, self.time.noun, anchor="middle"))
        parts.append(svg.text(WIDTH - RIGHT, self.height - 5, "picture", anchor="end"))
        return parts

    def _named(self) -> list[int]:
        """The steps whose names stand below the axis: the first, the last, and those between with room for a name."""
        room, last = 46.0, len(self._x) - 1
        found = [0]
        for step in range(1, last):
            if self._x[step] - self._x[found[-1]] >= room and self._x[last] - self._x[step] >= room:
                found.append(step)
        return [*found, last] if last > 0 else found


def legend(keys: Sequence[tuple[str, str]]) -> list[str]:
    """What the lines stand for, side by side above them."""
    return [svg.key(LEFT + 190.0 * i, 11, words, style=style) for i, (words, style) in enumerate(keys)]
