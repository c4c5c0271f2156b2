"""Panoptic PNGs: a picture whose colours are numbers of segments."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Integer
from PIL import Image

from omnisae.errors import DatasetError


def read(path: Path) -> Integer[np.ndarray, "y x"]:
    """The number of every pixel's segment, R + 256 G + 256² B; 0 is unlabelled. Raises DatasetError."""
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as picture:
            picture.load()
            mode, values = picture.mode, np.asarray(picture)
    except Exception as error:  # broken files make decoders raise anything
        raise DatasetError(
            f"the panoptic PNG {path} cannot be read: {error or type(error).__name__}", "mend or restore the file"
        ) from error
    if mode != "RGB":
        raise DatasetError(
            f"{path} is a picture of mode {mode}; a panoptic PNG is RGB, its colour the segment's number",
            "read masks of one number a pixel by vision.image_folder",
        )
    weights = np.array([1, 256, 65_536], dtype=np.int32)
    return np.asarray(values.astype(np.int32) @ weights)
