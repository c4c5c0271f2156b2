"""Small drawings as SVG within HTML: they take their colours from the page, and their text is escaped."""

import html
import math
from collections.abc import Iterable, Sequence


def number(value: float) -> str:
    """A coordinate, as short as two decimals allow."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "tick") -> str:
    """A line of text."""
    return f'<text class="{kind}" x="{number(x)}" y="{number(y)}" text-anchor="{anchor}">{html.escape(content)}</text>'


def rect(x: float, y: float, width: float, height: float, *, kind: str, tip: str = "", fill: str = "") -> str:
    """A rectangle, with a tip where one is given."""
    style = f' style="fill:{html.escape(fill)}"' if fill else ""
    place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
    inner = f"<title>{html.escape(tip)}</title>" if tip else ""
    return f'<rect class="{kind}" {place}{style}>{inner}</rect>'


def line(x1: float, y1: float, x2: float, y2: float, *, kind: str) -> str:
    """A straight line."""
    ends = " ".join(f'{k}="{number(v)}"' for k, v in zip(("x1", "y1", "x2", "y2"), (x1, y1, x2, y2), strict=True))
    return f'<line class="{kind}" {ends}/>'


def curve(points: Iterable[tuple[float, float]], *, style: str) -> str:
    """Straight lines from point to point."""
    path = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    return f'<polyline points="{path}" fill="none" style="{html.escape(style)}"/>'


def key(x: float, y: float, content: str, *, style: str) -> str:
    """An entry of a legend: a short stroke in this style, and what it stands for."""
    ends = f'x1="{number(x)}" y1="{number(y)}" x2="{number(x + 24)}" y2="{number(y)}"'
    return f'<line {ends} style="{html.escape(style)}"/>' + text(x + 29, y + 4, content)


def drawing(width: float, height: float, parts: Sequence[str], *, alt: str) -> bytes:
    """The whole drawing as an HTML fragment."""
    box = f'viewBox="0 0 {number(width)} {number(height)}"'
    size = f'style="aspect-ratio:{number(width)}/{number(height)}"'
    head = f'<svg class="chart" {box} {size} role="img" aria-label="{html.escape(alt)}">'
    return (head + "".join(parts) + "</svg>").encode()


def ticks(low: float, high: float, most: int = 5, *, counts: bool = False) -> list[float]:
    """At most `most` + 1 round values within low…high; whole ones for counts."""
    if not high > low:
        return [low]
    rough = max((high - low) / most, 1.0) if counts else (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
