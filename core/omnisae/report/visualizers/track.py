"""Values along one axis."""

from collections.abc import Sequence

import numpy as np

from omnisae import svg
from omnisae.report.scale import colour
from omnisae.report.visualizer import Drawing, Figure, Firing, LatentView, Visualizer
from omnisae.report.words import plural, short, whole

WIDTH, HEIGHT = 640, 96
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 8, 22


class Track(Visualizer):
    """Bars along the one axis of a hook point, such as time or position; their height and colour are the value."""

    def title(self) -> str:
        return "Track"

    def applies(self, view: LatentView) -> bool:
        return len(view.hook.axes) == 1

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        axis = view.hook.axes[0]
        steps = max(int(firing.sizes[axis]), 1)
        placed = firing.coords[:, 0] >= 0
        at, values = firing.coords[placed, 0], firing.values[placed]
        strongest = np.argsort(-values, kind="stable")[:3]
        where = ", ".join(f"{short(float(values[i]))} at {axis} {int(at[i]) + 1}" for i in strongest)
        alt = f"fires on {len(values)} of {plural(steps, 'step')} along {axis}" + (
            f"; strongest {where}" if where else ""
        )
        inner, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
        wide = inner / steps
        base = _TOP + tall
        parts = [svg.line(_LEFT, _TOP, WIDTH - _RIGHT, _TOP, kind="gridline")]
        for step, value in zip(at.tolist(), values.tolist(), strict=True):
            share = min(value / view.ceiling, 1.0) if view.ceiling > 0 else 0.0
            bar = max(wide * 0.9, 0.8)
            tip = f"{axis} {step + 1}: {short(value)}"
            x = _LEFT + wide * step + (wide - bar) / 2
            parts.append(svg.rect(x, base - tall * share, bar, tall * share, kind="level", fill=colour(share), tip=tip))
        parts.append(svg.line(_LEFT, base, WIDTH - _RIGHT, base, kind="axis"))
        for step in {1, *(round(t) for t in svg.ticks(1, steps, 6, counts=True)), steps} - {0}:
            if step in (1, steps) or 0.06 * steps < step < 0.94 * steps:
                x = _LEFT + wide * (step - 0.5)
                anchor = "start" if step == 1 else "end" if step == steps else "middle"
                parts.append(svg.text(x, HEIGHT - 6, whole(step), anchor=anchor))
        parts.append(svg.text(WIDTH - _RIGHT, _TOP + 10, short(view.ceiling), anchor="end"))
        caption = f"along {axis}, full height {short(view.ceiling)}: the latent's largest value"
        return [Figure("text/html", svg.drawing(WIDTH, HEIGHT, parts, alt=alt), caption, alt)]
