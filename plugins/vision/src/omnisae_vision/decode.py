"""Reading pictures: whatever the file holds becomes 8-bit RGB, or says why it cannot."""

from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Integer
from PIL import Image, ImageOps, UnidentifiedImageError

from omnisae.errors import DatasetError, UnreadableExample


def read(source: Path | IO[bytes], *, exif: bool = False, name: str = "") -> Image.Image:
    """The picture in RGB. Raises UnreadableExample, which names the file, where it cannot be read.

    16-bit grey is scaled by 1/257; transparency is laid over white; of several frames the first counts. `name` says
    what `source` is where that is not a path.
    """
    try:
        with Image.open(source) as picture:
            picture.load()
            turned = ImageOps.exif_transpose(picture) if exif else picture
            return to_rgb(turned)
    except UnreadableExample:
        raise
    except Exception as error:
        # Broken files make decoders raise anything: OSError, SyntaxError, ValueError, struct.error, MemoryError …
        said = f"{name or source} cannot be read: {_reason(error)}"
        raise UnreadableExample(said, "mend or remove the file") from error


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any mode of PIL in 8-bit RGB."""
    if picture.mode == "RGB":
        return picture.copy() if picture.readonly else picture
    if picture.mode == "F":
        raise UnreadableExample("a picture of floating-point pixels has no known white", "save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype(np.int64).clip(0, 65_535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return picture.convert("RGB")


def size(source: Path | IO[bytes], *, exif: bool = False, name: str = "") -> tuple[int, int]:
    """Height and width, from the header alone. Raises UnreadableExample."""
    try:
        with Image.open(source) as picture:
            width, height = picture.size
            sideways = exif and picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except Exception as error:
        said = f"{name or source} cannot be read: {_reason(error)}"
        raise UnreadableExample(said, "mend or remove the file") from error
    return (width, height) if sideways else (height, width)


def read_mask(source: Path | IO[bytes], *, name: str = "") -> Integer[np.ndarray, "y x"]:
    """The numbers of a mask: palette indices, or grey values of 1 to 32 bits. Raises DatasetError for anything else."""
    what = name or str(source)
    try:
        with Image.open(source) as picture:
            picture.load()
            if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
                raise DatasetError(
                    f"{what} is a picture of mode {picture.mode}; a mask holds one whole number a pixel",
                    "save it as a PNG of 8-bit or 16-bit grey, or with a palette",
                )
            return np.asarray(picture).astype(np.int32)
    except DatasetError:
        raise
    except Exception as error:
        raise DatasetError(f"the mask {what} cannot be read: {_reason(error)}", "mend or remove the file") from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is no picture that Pillow knows"
    return str(error) or type(error).__name__
