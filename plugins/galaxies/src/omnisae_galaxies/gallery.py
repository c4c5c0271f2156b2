"""The visualizer `galaxies.gallery`."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from omnisae.errors import UnreadableExample
from omnisae.report.scale import colour
from omnisae.report.visualizer import Drawing, Figure, LatentView, Visualizer
from omnisae.report.visualizers.once import Once
from omnisae.report.words import plural, short
from omnisae_galaxies import draw

SHARP = 2
"""Pixels of the drawing to a pixel of the page."""
GAP, LINE, TEXT = 8 * SHARP, 15 * SHARP, 11 * SHARP
REMEMBERED = 1024
"""Galaxies that are kept, for the next latent that shows them."""
Tile = tuple[Image.Image, str]
"""A galaxy with its scale bar and votes, and the votes in words."""


class Gallery(Visualizer):
    """The galaxies in which a latent is strongest, as the dataset stretches them (not as the model crops them), with
    the latent's strength, a scale bar in arcseconds, and their leading votes."""

    def __init__(self, examples: int, columns: int, side: int, votes: int) -> None:
        self.examples, self.columns, self.side, self.votes = examples, columns, side * SHARP, votes
        self._tiles: Once[OrderedDict[int, Tile | None]] = Once(lambda dataset: OrderedDict())

    def title(self) -> str:
        return "Gallery"

    def applies(self, view: LatentView) -> bool:
        """Datasets of other fields have no votes, and no scale on the sky."""
        return hasattr(view.dataset, "tally") and hasattr(view.dataset, "arcsec")

    def draw_latent(self, view: LatentView) -> Sequence[Drawing]:
        known = np.where(view.known(), view.strength, 0.0)
        order = [int(row) for row in np.argsort(-known, kind="stable")[: self.examples] if known[row] > 0]
        found = [(row, tile) for row in order if (tile := self._read(view, row)) is not None]
        if not found:
            return []
        sheet, said = self._sheet(len(found)), []
        pen = ImageDraw.Draw(sheet)
        for number, (row, (tile, votes)) in enumerate(found):
            left, top = self._place(number)
            sheet.paste(tile, (left, top))
            strength = float(known[row])
            below = top + self.side + 3 * SHARP
            share = strength / view.ceiling if view.ceiling > 0 else 0.0
            pen.rectangle((left, below + 2 * SHARP, left + 8 * SHARP, below + 10 * SHARP), fill=colour(share))
            pen.text((left + 13 * SHARP, below - SHARP), short(strength), fill=draw.INK, font=draw.font(TEXT + SHARP))
            said.append(f"{view.dataset.ids[row]}: {short(strength)}" + (f" ({votes})" if votes else ""))
        firing = int((known > 0).sum())
        shown = plural(len(found), "galaxy", "galaxies")
        caption = (
            f"The {shown} in which it is strongest, of {plural(firing, 'scored one')} in which it fires; below each "
            "its strength, and votes where there are any. Bars: the angle they span."
        )
        return [Figure("image/jpeg", draw.jpeg(np.asarray(sheet)), caption, draw.spoken(said), "Strongest galaxies")]

    def _read(self, view: LatentView, row: int) -> Tile | None:
        """What is the same for all latents; None where the galaxy cannot be read (the report counts and tells it)."""
        known = self._tiles(view.dataset)
        if row not in known:
            try:
                known[row] = self._tile(view, row)
            except UnreadableExample:
                known[row] = None
            while len(known) > REMEMBERED:
                known.popitem(last=False)
        known.move_to_end(row)
        return known[row]

    def _tile(self, view: LatentView, row: int) -> Tile:
        """A picture with its scale bar, and its votes below the line of its strength."""
        raw = view.dataset.load(row).input
        picture, scale = draw.square(
            raw if isinstance(raw, Image.Image) else Image.fromarray(np.asarray(raw)), self.side
        )
        arcsec = draw.arcsec_of(view.dataset, row)
        tile = Image.new("RGB", (self.side, self._tall), draw.PAPER)
        tile.paste(picture, (0, 0))
        pen = ImageDraw.Draw(tile)
        if arcsec:
            draw.scale_bar(pen, (0, 0, self.side, self.side), arcsec / scale, SHARP)
        votes = [
            (f"{share:.2f}", _answer(q, answer)) for q, answer, share in draw.leading(view.dataset, row, self.votes)
        ]
        for line, (share, words) in enumerate(votes, start=1):
            text = draw.fitted(f"{share} {words}", self.side, TEXT)
            pen.text((0, self.side + 3 * SHARP + LINE * line), text, fill=draw.SOFT, font=draw.font(TEXT))
        return tile, ", ".join(f"{words} {share}" for share, words in votes)

    @property
    def _tall(self) -> int:
        return self.side + LINE * (1 + self.votes) + 4 * SHARP

    def _place(self, number: int) -> tuple[int, int]:
        """The left upper corner of a tile."""
        row, column = divmod(number, self.columns)
        return GAP + column * (self.side + GAP), GAP + row * (self._tall + GAP)

    def _sheet(self, count: int) -> Image.Image:
        across, down = min(self.columns, count), -(-count // self.columns)
        return Image.new("RGB", (across * (self.side + GAP) + GAP, down * (self._tall + GAP) + GAP), draw.PAPER)


def _answer(question: str, answer: str) -> str:
    """An answer in words that stand alone: `smooth`, but `bar: yes`, `spiral arm count: 2`."""
    alone = answer.replace("-", " ")
    return f"{question.replace('-', ' ')}: {alone}" if len(answer) < 4 or answer in draw.DENIALS else alone
