"""Grids of pictures as one PNG file: headings, labelled rows, a scale with its numbers. The ground is dark in light
pages, too, as beneath all pictures of a report."""

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from omnisae.errors import OmnisaeError

PAPER, INK, SOFT = (24, 27, 33), (240, 239, 234), (172, 177, 187)
SIDE = 192
"""Longest side of a picture in a grid, in pixels."""
SMALL = 128
"""Pictures below this side are magnified by a whole factor, pixel by pixel; the others are never magnified."""
GAP = 12
BETWEEN = 26
"""Pixels between two rows: more than between a row and its label, so that one sees whose that is."""
SHARE = 30
"""The sheet's width over the height of its letters: a page shows a sheet about 370 pixels wide, whatever its own."""
INSTEAD = {
    "−": "-",
    "–": "-",
    "—": "-",
    "→": "->",
    "×": "x",
    "ß": "ss",
    "…": "...",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}
"""What Pillow's own typeface lacks. Texts beside the picture, for screen readers, keep their signs."""

Picture = UInt8[np.ndarray, "y x 3"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture, and a short text below it."""

    picture: Picture
    below: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Pictures side by side under one line of text."""

    label: str
    tiles: Sequence[Tile]


@dataclass(frozen=True, slots=True)
class Scale:
    """A legend: colours from 0 to `ceiling`, and what they stand for."""

    colours: UInt8[np.ndarray, "colour 3"] = field(repr=False)
    ceiling: float
    words: str


def sheet(headings: Sequence[str], rows: Sequence[Row], *, side: int = SIDE, scale: Scale | None = None) -> bytes:
    """The grid as a PNG file. `headings` stand over the columns."""
    shown = [[fitted(tile.picture, side) for tile in row.tiles] for row in rows]
    wide, tall = (max(one.size[axis] for line in shown for one in line) for axis in (0, 1))
    width = len(headings) * (wide + GAP) + GAP
    letters = max(18, round(width / SHARE))
    line = round(letters * 1.5)
    below = line if any(tile.below for row in rows for tile in row.tiles) else 0
    step = (line if any(row.label for row in rows) else 0) + tall + below + BETWEEN
    height = line + GAP + step * len(rows) + (2 * line + GAP if scale is not None else 0)
    canvas = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(canvas)
    columns = [GAP + i * (wide + GAP) for i in range(len(headings))]
    for x, heading in zip(columns, headings, strict=True):
        _text(pen, (x + wide / 2, GAP / 2), heading, wide, letters, INK, middle=True)
    for number, (row, pictures) in enumerate(zip(rows, shown, strict=True)):
        top = line + GAP // 2 + step * number
        if row.label:
            _text(pen, (GAP, top), row.label, width - 2 * GAP, letters, SOFT)
        top += step - tall - below - BETWEEN
        for x, tile, picture in zip(columns, row.tiles, pictures, strict=False):
            canvas.paste(picture, (x + (wide - picture.width) // 2, top + (tall - picture.height) // 2))
            _text(pen, (x + wide / 2, top + tall + letters * 0.15), tile.below, wide, letters, SOFT, middle=True)
    if scale is not None:
        _legend(canvas, pen, scale, height - 2 * line - GAP, letters)
    out = io.BytesIO()
    canvas.save(out, "PNG", compress_level=6)
    return out.getvalue()


def _legend(canvas: Image.Image, pen: ImageDraw.ImageDraw, scale: Scale, top: int, letters: int) -> None:
    """The colours from 0 to the ceiling with three numbers, and what they stand for."""
    wide, tall = canvas.width - 2 * GAP, max(letters // 2, 8)
    _text(pen, (GAP, top), scale.words, wide, letters, SOFT)
    bar = top + round(letters * 1.5)
    room = round(wide * 0.62)
    ramp = Image.fromarray(np.repeat(scale.colours[None], tall, axis=0)).resize((room, tall))
    zero, most = "0", f"{scale.ceiling:.3g}"
    start = GAP + round(font(letters).getlength(zero)) + GAP // 2
    _text(pen, (GAP, bar), zero, wide, letters, INK)
    canvas.paste(ramp, (start, bar + round(letters * 0.55) - tall // 2 + 1))
    _text(pen, (start + room + GAP / 2, bar), most, wide - room, letters, INK)


def fitted(picture: Picture, side: int) -> Image.Image:
    """A picture at most `side` pixels along a side: small ones by a whole factor, the others shrunk or as they are."""
    drawn = Image.fromarray(np.ascontiguousarray(picture))
    factor = magnified(picture, side)
    if factor > 1:
        return drawn.resize((drawn.width * factor, drawn.height * factor), Image.Resampling.NEAREST)
    if max(drawn.size) > side:
        shrink = side / max(drawn.size)
        size = (max(1, round(drawn.width * shrink)), max(1, round(drawn.height * shrink)))
        return drawn.resize(size, Image.Resampling.LANCZOS)
    return drawn


def magnified(picture: Picture, side: int) -> int:
    """By how much a picture is magnified."""
    longest = max(picture.shape[:2])
    return max(side // longest, 1) if longest < SMALL else 1


def sizes(pictures: Sequence[Picture], side: int) -> str:
    """The size of the pictures and how they are shown, in words."""
    tall, wide = pictures[0].shape[:2]
    if any(one.shape != pictures[0].shape for one in pictures):
        return f"pictures of several sizes, shown at most {side} pixels wide or high"
    factor = magnified(pictures[0], side)
    if factor > 1:
        return f"pictures of {wide} × {tall} pixels, magnified {factor} times"
    how = f"shown at most {side} wide or high" if max(wide, tall) > side else "shown as they are"
    return f"pictures of {wide} × {tall} pixels, {how}"


def checked(pictures: Sequence[np.ndarray], what: str) -> list[Picture]:
    """The pictures, if they are such. Raises OmnisaeError."""
    for number, one in enumerate(pictures):
        if not isinstance(one, np.ndarray) or one.dtype != np.uint8 or one.ndim != 3 or one.shape[2] != 3:
            found = f"{one.dtype} {one.shape}" if isinstance(one, np.ndarray) else type(one).__name__
            raise OmnisaeError(f"{what}[{number}] is {found}; a picture is uint8 (y, x, 3)", "convert it first")
    return list(pictures)


def same_number(wanted: int, what: str, **given: Sequence[object] | None) -> None:
    """Raises OmnisaeError where one of these has another number of items, or none is wanted."""
    if wanted == 0:
        raise OmnisaeError(f"{what} is empty; a grid needs a picture", "give at least one")
    for name, items in given.items():
        if items is not None and len(items) != wanted:
            raise OmnisaeError(f"{name} has {len(items)} items and {what} {wanted}", f"give one of {name} for each")


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface at this size."""
    return ImageFont.load_default(size)


@cache
def _missing(sign: str) -> bool:
    """Whether the typeface has no such sign: it is drawn like one that no typeface has."""
    mask, none = font(24).getmask(sign), font(24).getmask("\uffff")
    return not sign.isspace() and (mask.size, bytes(mask)) == (none.size, bytes(none))


def writable(text: str) -> str:
    """The text in signs that the typeface has: others by their base letter, else by a question mark."""
    out = []
    for sign in " ".join(text.split()):
        sign = INSTEAD.get(sign, sign)
        if len(sign) == 1 and _missing(sign):
            base = unicodedata.normalize("NFKD", sign)[0]
            sign = base if not _missing(base) else "?"
        out.append(sign)
    return "".join(out)


def _text(
    pen: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    width: float,
    size: int,
    ink: tuple[int, int, int],
    *,
    middle: bool = False,
) -> None:
    """A line of text, cut so that it fits the width."""
    text, letters = writable(text), font(size)
    if not text:
        return
    if letters.getlength(text) > width:
        while text and letters.getlength(text + "...") > width:
            text = text[:-1]
        text = text.rstrip() + "..."
    x = at[0] - letters.getlength(text) / 2 if middle else at[0]
    pen.text((x, at[1]), text, fill=ink, font=letters)
