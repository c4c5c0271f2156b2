"""A finished drawing, as visualizers and studies hand it to the report."""

from dataclasses import dataclass
from typing import Literal

Media = Literal["image/png", "image/jpeg", "image/svg+xml", "text/html"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One finished drawing. `data` are the file's bytes (PNG, JPEG, SVG text) or an HTML fragment whose text is escaped
    (SVG within HTML takes the page's colours, see docs/report.md).

    `caption` says what is shown, with its n; `alt` says it for a screen reader. `title` heads a drawing
    over the dataset; empty: the visualizer's own.
    """

    media: Media
    data: bytes
    caption: str = ""
    alt: str = ""
    title: str = ""
