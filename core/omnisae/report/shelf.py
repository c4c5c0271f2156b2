"""The shelf: the plain picture of every example that is shown, read and written once."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from omnisae.errors import UnreadableExample
from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor

SIDE = 256
"""Longest side of a picture in the report, in pixels: what a card shows on a dense screen."""
_SHARP = 128
"""Up to this side a picture is kept lossless: compression would blur what little is there."""
_FEW = 64
"""Up to this many pictures, starting worker processes costs more than it saves."""
_FOLDER = 1000
"""Pictures in one folder."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's place in the report's folder and its size in pixels."""

    src: str
    width: int
    height: int


class Shelf:
    """Plain pictures by the row of their example."""

    def __init__(self, dataset: Dataset, extractor: Extractor, folder: Path) -> None:
        self._source = _Pictures(dataset, extractor, folder)
        self._known: dict[int, Picture | None] = {}
        self.unreadable: dict[int, str] = {}

    def prepare(self, rows: Iterable[int], workers: int = 0) -> None:
        """Read and write the pictures of these examples, in worker processes where there are many."""
        wanted = sorted(set(rows) - set(self._known))
        self._source.rows = wanted
        for number in {row // _FOLDER for row in wanted}:
            (self._source.folder / f"figures/{number}").mkdir(parents=True, exist_ok=True)
        loader = DataLoader(
            self._source,
            batch_size=min(32, max(len(wanted), 1)),
            num_workers=workers if len(wanted) > _FEW else 0,
            collate_fn=list,
        )
        for batch in loader:
            for row, picture, reason in batch:
                self._known[row] = picture
                if reason:
                    self.unreadable[row] = reason

    def picture(self, row: int) -> Picture | None:
        """The picture of an example; None where it has none, or cannot be read."""
        if row not in self._known:
            self.prepare([row])
        return self._known[row]


class _Pictures(TorchDataset[tuple[int, Picture | None, str]]):
    """What worker processes do: load an example, and write its picture."""

    def __init__(self, dataset: Dataset, extractor: Extractor, folder: Path) -> None:
        self.dataset, self.extractor, self.folder = dataset, extractor, folder
        self.rows: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, Picture | None, str]:
        row = self.rows[index]
        try:
            pixels = self.extractor.picture(self.dataset.load(row))
        except UnreadableExample as error:
            return row, None, error.problem
        if pixels is None:
            return row, None, ""
        picture = place(row, pixels.shape[0], pixels.shape[1])
        (self.folder / picture.src).write_bytes(encode(pixels, picture))
        return row, picture, ""


def place(row: int, height: int, width: int) -> Picture:
    """Where the picture of an example is written that has so many pixels, and how large: PNG where it is small, JPEG
    otherwise, at most SIDE pixels along a side."""
    shrink = max(max(height, width) / SIDE, 1.0)
    small = max(1, round(width / shrink)), max(1, round(height / shrink))
    suffix = "png" if max(small) <= _SHARP else "jpg"
    return Picture(f"figures/{row // _FOLDER}/{row}.{suffix}", *small)


def encode(pixels: UInt8[np.ndarray, "y x 3"], picture: Picture) -> bytes:
    """A picture as the bytes of its file."""
    drawn = Image.fromarray(np.ascontiguousarray(pixels))
    if drawn.size != (picture.width, picture.height):
        drawn = drawn.resize((picture.width, picture.height))
    out = io.BytesIO()
    if picture.src.endswith(".png"):
        drawn.save(out, "PNG", compress_level=6)
    else:
        drawn.save(out, "JPEG", quality=82)
    return out.getvalue()
