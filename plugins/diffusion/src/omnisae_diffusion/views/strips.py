"""The visualizer `diffusion.strips`."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from omnisae import svg
from omnisae.report.scale import colour
from omnisae.report.visualizer import Drawing, Figure, Firing, LatentView, Visualizer
from omnisae.report.words import esc, plural, short
from omnisae_diffusion.views.cells import cells, coarse
from omnisae_diffusion.views.pictures import Course, Courses, Shown
from omnisae_diffusion.views.steps import AXIS, Clock, chosen, clock, further, maps

WIDTH = 420.0
"""The width of a figure, in units of its own; the page scales it."""
GAP, APART = 4.0, 10.0
HEAD, TRACK, FOOT = 20.0, 16.0, 22.0
GREY = "filter:grayscale(1) brightness(0.5)"
"""Beneath the heat a picture is grey and dim, so that what is coloured is the latent."""
SHOWN = (AXIS, "y", "x")


class Strips(Visualizer):
    """Small heat maps of one example, a step each, on the latent's one colour scale, beside its plain picture; below
    them the picture at these steps where the extractor has it, and a bar for every step."""

    axes = frozenset(SHOWN)
    pictures: ClassVar[bool] = True

    def __init__(self, steps: int, frames: int) -> None:
        self.steps = steps
        self._courses = Courses(frames)

    def title(self) -> str:
        return "Heat by step"

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        every = maps(firing)
        time, read = clock(view, len(every))
        values = every[read]
        peaks = values.max(axis=(1, 2))
        strongest = int(peaks.argmax()) if peaks.max() > 0 else None
        shown = chosen(len(values), self.steps, strongest)
        course = self._courses.of(view, firing.row)
        if course.frames is not None:
            fit = len(course.frames) == len(every)  # else one cannot tell whose they are
            course = Course(course.plain, [course.frames[step] for step in read] if fit else None)
        alt = _spoken(values, time, shown, view.ceiling, course)
        drawn = _draw(values, time, shown, strongest, view.ceiling, course, alt)
        return [Figure("text/html", drawn, _caption(values, firing, time, shown, strongest), alt)]


def _draw(
    values: Float[np.ndarray, "step y x"],
    time: Clock,
    shown: Sequence[int],
    strongest: int | None,
    ceiling: float,
    course: Course,
    alt: str,
) -> bytes:
    plain, frames = course.plain, course.frames
    proportion = _proportion(plain, values)
    rows = 2 if frames is not None else 1
    # The plain picture is as tall as the rows beside it: `rows` cells and the gap between them.
    places = len(shown) + (rows if plain is not None else 0)
    apart = APART + (rows - 1) * GAP / proportion if plain is not None else 0.0
    side = (WIDTH - apart - GAP * (len(shown) - 1)) / max(places, 4)
    tall = side * proportion
    height = rows * tall + (rows - 1) * GAP
    left = height / proportion + APART if plain is not None else 0.0
    parts = []
    if plain is not None:
        parts.append(_panel(0, HEAD, height / proportion, height, plain.image(1, 1), 1, 1))
        parts.append(svg.text(0, HEAD - 5, "picture"))
    for i, step in enumerate(shown):
        x = left + i * (side + GAP)
        small, _ = coarse(values[step])
        down, wide = small.shape
        beneath = plain.image(wide, down, GREY) if plain is not None else ""
        tip = f"<title>{esc(f'{time.noun} {time.name(step)}: {_told(values[step])}')}</title>"
        parts.append(svg.rect(x, HEAD, side, tall, kind="ground", fill="var(--plate)"))
        parts.append(_panel(x, HEAD, side, tall, tip + beneath + cells(small, ceiling), wide, down))
        kind = "label" if step == strongest else "tick"
        parts.append(svg.text(x + side / 2, HEAD - 5, time.name(step), anchor="middle", kind=kind))
        if frames is not None:
            parts.append(_panel(x, HEAD + tall + GAP, side, tall, frames[step].image(1, 1), 1, 1))
    right = left + len(shown) * (side + GAP) - GAP
    parts += _track(values.max(axis=(1, 2)), time, ceiling, left, right, HEAD + height + GAP)
    return svg.drawing(WIDTH, HEAD + height + GAP + TRACK + FOOT, parts, alt=alt)


def _track(
    peaks: Float[np.ndarray, " step"], time: Clock, ceiling: float, left: float, right: float, top: float
) -> list[str]:
    """A bar for every step, shown or not: full height is the latent's largest value."""
    wide, base = (right - left) / len(peaks), top + TRACK
    parts = [svg.line(left, top, right, top, kind="gridline")]
    for step, peak in enumerate(peaks.tolist()):
        share = min(peak / ceiling, 1.0) if ceiling > 0 else 0.0
        if share > 0:
            x, tip = left + wide * (step + 0.05), f"{time.noun} {time.name(step)}: {short(peak)}"
            tall = max(TRACK * share, 1.0)
            parts.append(svg.rect(x, base - tall, wide * 0.9, tall, kind="level", fill=colour(share), tip=tip))
    parts.append(svg.line(left, base, right, base, kind="axis"))
    parts.append(svg.text(left, base + 11, "noise"))
    parts.append(svg.text((left + right) / 2, base + 11, f"largest at each of {len(peaks)} steps", anchor="middle"))
    parts.append(svg.text(right, base + 11, "picture", anchor="end"))
    return parts


def _panel(x: float, y: float, width: float, height: float, inside: str, wide: float, tall: float) -> str:
    """A part of the figure with a view of its own, `wide` by `tall` units."""
    place = f'x="{svg.number(x)}" y="{svg.number(y)}" width="{svg.number(width)}" height="{svg.number(height)}"'
    box = f'viewBox="0 0 {wide:g} {tall:g}" preserveAspectRatio="none" style="overflow:hidden"'
    return f"<svg {place} {box}>{inside}</svg>"


def _proportion(plain: Shown | None, values: Float[np.ndarray, "step y x"]) -> float:
    """Height over width of the pictures, or of the grid where there are none."""
    return plain.height / plain.width if plain is not None else values.shape[1] / values.shape[2]


def _told(values: Float[np.ndarray, "y x"]) -> str:
    lit = int((values > 0).sum())
    if not lit:
        return "silent"
    y, x = np.unravel_index(int(values.argmax()), values.shape)
    strongest = short(float(values.max()))
    return f"{lit} of {plural(values.size, 'token')}, strongest {strongest} at row {y + 1}, column {x + 1}"


def _spoken(
    values: Float[np.ndarray, "step y x"], time: Clock, shown: Sequence[int], ceiling: float, course: Course
) -> str:
    """The strip in words: when and where it is strongest, and how many steps are lit."""
    names = ", ".join(time.name(step) for step in shown)
    beside = "beside the plain picture, " if course.plain is not None else ""
    under = "above the picture at these steps, " if course.frames is not None else ""
    said = f"Heat maps of {len(shown)} of {plural(len(values), 'step')}, {beside}{under}at {time.noun} {names}"
    peaks = values.max(axis=(1, 2))
    if not peaks.max() > 0:
        return f"{said}: silent at every step"
    step, y, x = np.unravel_index(int(values.argmax()), values.shape)
    share = f", {100 * float(peaks.max()) / ceiling:.0f} % of the latent's largest value," if ceiling > 0 else ""
    return (
        f"{said}: fires at {int((peaks > 0).sum())} of them all; strongest {short(float(peaks.max()))}{share} at "
        f"{time.noun} {time.name(int(step))}, row {y + 1} of {values.shape[1]}, column {x + 1} of {values.shape[2]}"
    )


def _caption(
    values: Float[np.ndarray, "step y x"], firing: Firing, time: Clock, shown: Sequence[int], strongest: int | None
) -> str:
    said = [f"by {time.noun}, {len(shown)} of {plural(len(values), 'step')}"]
    said.append("silent at all of them" if strongest is None else f"strongest at {time.name(strongest)}")
    if more := further(firing, SHOWN):
        said.append(more)
    _, block = coarse(values[0])
    if block > 1:
        said.append(f"a cell is the largest of {block} × {block} tokens")
    if bool((firing.coords < 0).any()):
        said.append("special tokens have no place and are left out")
    return "; ".join(said)
