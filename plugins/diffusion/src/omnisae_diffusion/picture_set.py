"""Pictures in memory, as a dataset that any extractor reads."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from omnisae.errors import DatasetError
from omnisae.extract.dataset import Dataset, Example

Pictures = UInt8[np.ndarray, "picture y x 3"]


def check(pictures: Any, called: str = "pictures") -> Pictures:
    """The pictures, if they have the one form that is taken here. Raises DatasetError where they have not."""
    remedy = "give 8-bit RGB pictures as one array, picture × height × width × 3 (uint8, 0 to 255)"
    if not isinstance(pictures, np.ndarray):
        raise DatasetError(f"{called} are a {type(pictures).__name__}, not an array", remedy)
    if pictures.dtype != np.uint8:
        raise DatasetError(f"{called} are of {pictures.dtype}, not uint8", remedy)
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or 0 in pictures.shape:
        raise DatasetError(f"{called} have the shape {list(pictures.shape)}", remedy)
    return pictures


class PictureSet(Dataset):
    """Pictures in memory, called `picture 0`, `picture 1` and so on. Raises DatasetError as `check`."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = check(pictures)
        self._ids = [f"picture {row}" for row in range(len(pictures))]

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        return Example(row, self._ids[row], self.pictures[row])

    def fingerprint(self) -> str:
        shape = "×".join(map(str, self.pictures.shape))
        return hashlib.sha256(shape.encode() + np.ascontiguousarray(self.pictures).tobytes()).hexdigest()
