"""What drawings of cut-outs share: reading them, a scale bar, lines of text that cannot be misread."""

import io
from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from omnisae.extract.dataset import Dataset

INK, PAPER, SOFT = (240, 240, 236), (16, 17, 21), (160, 163, 172)
"""Text, ground, and lesser text: drawings of the night sky stay dark in light pages, too."""
BAR = (255, 255, 255)
LENGTHS = tuple(a * 10.0**b for b in range(-2, 5) for a in (1, 2, 5))
"""Arcseconds that a scale bar may stand for."""
MINUTE = 60.0
DENIALS = frozenset({"no", "none", "neither", "no-bulge"})
"""Answers that say that something was not seen."""


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface at this size. It has no primes, no minus sign and no ellipsis."""
    return ImageFont.load_default(size)


def bar(arcsec: float, width: int) -> tuple[float, str] | None:
    """The scale bar of a picture `width` pixels wide whose pixels are `arcsec` wide: its length in pixels, at most a
    third of the width, and what it stands for. None where no round length fits."""
    fitting = [length for length in LENGTHS if 8 <= length / arcsec <= width / 3]
    if not fitting:
        return None
    length = fitting[-1]
    words = f"{length / MINUTE:g}'" if length >= MINUTE and length % MINUTE == 0 else f'{length:g}"'
    return length / arcsec, words


def scale_bar(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], arcsec: float, size: int = 1) -> str:
    """Draw a scale bar in the lower left of a box (left, top, right, bottom). `size` magnifies it.
    What it stands for; "" where none fits."""
    left, _, right, bottom = box
    found = bar(arcsec, right - left)
    if found is None:
        return ""
    length, words = found
    y, x = bottom - 7 * size, left + 6 * size
    pen.line([(x - 1, y + 1), (x + length + 1, y + 1)], fill=(0, 0, 0), width=4 * size)
    pen.line([(x, y), (x + length, y)], fill=BAR, width=2 * size)
    pen.text((x, y - 15 * size), words, fill=BAR, font=font(11 * size), stroke_width=1, stroke_fill=(0, 0, 0))
    return words


def fitted(text: str, width: int, size: int) -> str:
    """A text cut so that it fits a width in pixels at this size."""
    letters = font(size)
    if letters.getlength(text) <= width:
        return text
    while text and letters.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


def square(picture: Image.Image, side: int) -> tuple[Image.Image, float]:
    """A picture on a square ground of this side, and by how much it was magnified."""
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    how = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    out = Image.new("RGB", (side, side), PAPER)
    out.paste(picture.convert("RGB").resize(size, how), ((side - size[0]) // 2, (side - size[1]) // 2))
    return out, scale


def arcsec_of(dataset: Dataset, row: int) -> float | None:
    """Arcseconds a pixel of an example's picture, where its dataset knows them."""
    ask = getattr(dataset, "arcsec", None)
    found = ask(row) if ask is not None else None
    return float(found) if found else None


def leading(dataset: Dataset, row: int, count: int) -> list[tuple[str, str, float]]:
    """A galaxy's most telling votes as (question, answer, fraction), at most `count`: what leads in the first question;
    then, the last questions first, what half or more saw; then the rest."""
    ask = getattr(dataset, "tally", None)
    votes = ask(row) if ask is not None else {}
    found = [(question, *max(shares.items(), key=lambda pair: pair[1])) for question, shares in votes.items()]
    later = found[:0:-1]
    seen = [vote for vote in later if vote[1] not in DENIALS and vote[2] >= 0.5]
    return [*found[:1], *seen, *(vote for vote in later if vote not in seen)][:count]


def png(canvas: UInt8[np.ndarray, "y x 3"]) -> bytes:
    """A picture as a PNG file."""
    out = io.BytesIO()
    Image.fromarray(canvas).save(out, "PNG", compress_level=3)
    return out.getvalue()


def jpeg(canvas: UInt8[np.ndarray, "y x 3"]) -> bytes:
    """A picture as a JPEG file in which thin coloured lines stay what they are."""
    out = io.BytesIO()
    Image.fromarray(canvas).save(out, "JPEG", quality=88, subsampling=0)
    return out.getvalue()


def spoken(words: Sequence[str], most: int = 4) -> str:
    """A list in words."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
