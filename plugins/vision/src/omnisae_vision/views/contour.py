"""The visualizer `vision.contour`."""

from collections.abc import Sequence

from omnisae import svg
from omnisae.report.scale import colour
from omnisae.report.visualizer import Figure, Firing, LatentView
from omnisae.report.visualizers.grid import grid
from omnisae.report.words import clip, esc, short
from omnisae_vision.views.frames import Frame
from omnisae_vision.views.outlines import FINE, mask_outlines, outlines, path, smooth
from omnisae_vision.views.sheet import GAP, TEXT, WIDTH, Seen, Sheet, fitted, panel, strongest_of
from omnisae_vision.views.truth import Known, Truth

COLUMNS = 3
OWN, TRUE = colour(1.0), "#57c7ff"
LINE = "fill:none;stroke-linejoin:round;vector-effect:non-scaling-stroke"
UNDER = "stroke:#000;stroke-opacity:0.65;stroke-width:3"
"""What lies beneath a line, so that it is seen on light pictures, too."""
DASHES = "stroke-dasharray:4 4"
UNIT = 0.1
"""What paths count in, in pixels of the picture."""
LEGEND = 20.0


class Contour(Sheet):
    """Where the smoothed latent exceeds one level, outlined over the picture in its own colours; and the mask of the
    concept that it goes with, where the dataset has masks."""

    def __init__(self, threshold: float, examples: int) -> None:
        super().__init__(examples)
        self.threshold = threshold
        self._known = Known()

    def title(self) -> str:
        return "Contours"

    def sheet(self, view: LatentView, shown: Sequence[Seen]) -> Figure:
        truth = self._known.best(view, [firing for firing, _ in shown])
        width, height = fitted([frame for _, frame in shown], COLUMNS)
        tall = height + TEXT + GAP
        parts, said = self._legend(truth), []
        for i, (firing, frame) in enumerate(shown):
            x, y = (i % COLUMNS) * (width + GAP), LEGEND + (i // COLUMNS) * tall
            name = view.dataset.ids[firing.row]
            drawn, area = self._outlined(view, firing, frame, truth)
            strongest = short(float(grid(firing).max()))
            words = f"{strongest} · {_percent(area)} of area"
            parts.append(
                panel(x, y, width, height, f"0 0 {frame.width} {frame.height}", f"<title>{esc(name)}</title>{drawn}")
            )
            parts.append(svg.text(x, y + height + 13, words))
            said.append(f"{name}: max {strongest}, {_percent(area)} of the area")
        level = f"{100 * self.threshold:g} % of its largest value, {short(self.threshold * view.ceiling)}"
        caption = (
            f"{strongest_of(view, len(shown))}. Solid: where the latent, smoothed between tokens, exceeds {level}; "
            "below, its largest value in the picture and the share of the area."
        )
        if truth is not None:
            caption += (
                f" Dashed: the mask of {truth.concept}, which holds most of its activation in the select pictures "
                "among these, beyond the area that it covers."
            )
        alt = f"Outlines at {level}. {'; '.join(said)}" + (f". Mask of {truth.concept}" if truth is not None else "")
        total = LEGEND + tall * -(-len(shown) // COLUMNS)
        return Figure("text/html", svg.drawing(WIDTH, total, parts, alt=alt), caption, alt, self.title())

    def _outlined(self, view: LatentView, firing: Firing, frame: Frame, truth: Truth | None) -> tuple[str, float]:
        """A picture with its outlines, and the share of its area within the latent's."""
        shrink = FINE / max(frame.width, frame.height)
        size = (max(round(frame.height * shrink), 1), max(round(frame.width * shrink), 1))
        field, level = smooth(grid(firing), *size), self.threshold * view.ceiling
        lines = _stroked(path(outlines(field, level), *_scales(frame, size)), OWN, scale=UNIT)
        mask = truth.masks.get(firing.row) if truth is not None else None
        if mask is not None:
            true = path(mask_outlines(mask), *_scales(frame, (mask.shape[0], mask.shape[1])))
            lines += _stroked(true, TRUE, DASHES, UNIT)  # on top: where both run together, both are seen
        return frame.image(frame.width, frame.height) + lines, float((field > level).mean())

    def _legend(self, truth: Truth | None) -> list[str]:
        own = f"above {100 * self.threshold:g} % of its maximum"
        parts = [_key(0, OWN, ""), svg.text(32, 11, own, kind="label")]
        if truth is not None:
            parts += [_key(222, TRUE, DASHES), svg.text(254, 11, f"mask of {clip(truth.concept, 18)}", kind="label")]
        return parts


def _percent(area: float) -> str:
    """A share of the area in no more signs than fit below a picture."""
    return f"{100 * area:.0f} %" if area >= 0.1 else f"{100 * area:.2g} %"


def _scales(frame: Frame, size: tuple[int, int]) -> tuple[float, float]:
    """From a map of this size (height, width) to the units of paths over a picture, in x and y."""
    return frame.width / size[1] / UNIT, frame.height / size[0] / UNIT


def _stroked(drawn: str, ink: str, more: str = "", scale: float = 1.0) -> str:
    """A line that is seen on light and on dark pictures. Between its dashes, what lies beneath is seen."""
    if not drawn:
        return ""
    size = f' transform="scale({scale:g})"' if scale != 1 else ""
    return "".join(
        f'<path d="{drawn}"{size} style="{LINE};{style};{more}"/>'
        for style in (UNDER, f"stroke:{ink};stroke-width:1.6")
    )


def _key(x: float, ink: str, more: str) -> str:
    return _stroked(f"M{svg.number(x)} 7h26", ink, more)
