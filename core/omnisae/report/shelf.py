"""The shelf: the plain picture of every example that is shown, read and written once."""

import hashlib
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


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's place in the report's folder and its size in pixels."""

    src: str
    width: int
    height: int


class Shelf:
    """Plain pictures by the row of their example. Pictures of the same bytes are one file."""

    def __init__(self, dataset: Dataset, extractor: Extractor, folder: Path) -> None:
        self._source = _Pictures(dataset, extractor)
        self._folder = folder
        self._known: dict[int, Picture | None] = {}
        self.unreadable: dict[int, str] = {}

    def prepare(self, rows: Iterable[int], workers: int = 0) -> None:
        """Read and write the pictures of these examples, in worker processes where there are many."""
        wanted = sorted(set(rows) - set(self._known))
        self._source.rows = wanted
        loader = DataLoader(
            self._source,
            batch_size=min(16, max(len(wanted), 1)),
            num_workers=workers if len(wanted) > _FEW else 0,
            collate_fn=list,
        )
        for batch in loader:
            for row, encoded, reason in batch:
                self._keep(row, encoded, reason)

    def picture(self, row: int) -> Picture | None:
        """The picture of an example; None where it has none, or cannot be read."""
        if row not in self._known:
            self.prepare([row])
        return self._known[row]

    def _keep(self, row: int, encoded: "_Encoded | None", reason: str) -> None:
        if reason:
            self.unreadable[row] = reason
        self._known[row] = None if encoded is None else self._write(encoded)

    def _write(self, encoded: "_Encoded") -> Picture:
        name = hashlib.sha256(encoded.data).hexdigest()[:24]
        path = self._folder / "figures" / name[:2] / f"{name}.{encoded.suffix}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded.data)
        return Picture(path.relative_to(self._folder).as_posix(), encoded.width, encoded.height)


@dataclass(frozen=True, slots=True)
class _Encoded:
    data: bytes
    suffix: str
    width: int
    height: int


class _Pictures(TorchDataset[tuple[int, "_Encoded | None", str]]):
    """What worker processes do: load an example and encode its picture."""

    def __init__(self, dataset: Dataset, extractor: Extractor) -> None:
        self.dataset, self.extractor = dataset, extractor
        self.rows: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, "_Encoded | None", str]:
        row = self.rows[index]
        try:
            pixels = self.extractor.picture(self.dataset.load(row))
        except UnreadableExample as error:
            return row, None, error.problem
        return row, None if pixels is None else encode(pixels), ""


def encode(pixels: UInt8[np.ndarray, "y x 3"]) -> _Encoded:
    """A picture as the bytes of a file: PNG where it is small, JPEG otherwise, at most SIDE pixels along a side."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if max(picture.size) > SIDE:
        scale = SIDE / max(picture.size)
        picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    out = io.BytesIO()
    sharp = max(picture.size) <= _SHARP
    if sharp:
        picture.save(out, "PNG", compress_level=6)
    else:
        picture.save(out, "JPEG", quality=82)
    return _Encoded(out.getvalue(), "png" if sharp else "jpg", picture.width, picture.height)
