"""Reading the bands of a FITS cut-out, wherever in the file they lie, and its celestial WCS."""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from omnisae.errors import UnreadableExample, did_you_mean

Bands = Float[np.ndarray, "band y x"]
PLANE = re.compile(r"(.+):(\d+)")


def read(path: Path, bands: Sequence[str]) -> Bands:
    """The bands that are asked for, in their order, in the file's own units; row 0 is the lowest, as FITS has it.

    Without `bands`: all planes of the first image. Raises UnreadableExample, which names the file, where it is
    truncated or no FITS, lacks a band, or bands differ in size.
    """
    with opened(path) as units:
        images = [unit for unit in units if _is_image(unit)]
        if not images:
            raise UnreadableExample(f"{path} holds no image", "give FITS files with two- or three-dimensional images")
        planes = [_find(path, images, units, band) for band in bands] if bands else list(_planes(images[0]))
        shapes = {plane.shape for plane in planes}
        if len(shapes) > 1:
            sizes = ", ".join(f"{shape[1]} × {shape[0]}" for shape in sorted(shapes))
            raise UnreadableExample(f"the bands of {path} differ in size: {sizes} pixels", "resample them to one grid")
        return np.stack([np.asarray(plane, dtype=np.float32) for plane in planes])


def celestial(path: Path) -> Any:
    """The celestial WCS (astropy.wcs.WCS) of the first image that has one; None where none has.

    Raises UnreadableExample where the file cannot be read.
    """
    from astropy.wcs import WCS

    with opened(path) as units:
        for unit in units:
            if _is_image(unit) and "CTYPE1" in unit.header:
                found = WCS(unit.header, naxis=2)
                if found.has_celestial:
                    return found
    return None


def shape_of(path: Path) -> tuple[int, int]:
    """Height and width of the first image, from its header."""
    with opened(path) as units:
        return next((unit.header["NAXIS2"], unit.header["NAXIS1"]) for unit in units if _is_image(unit))


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file's units. Whatever goes wrong within becomes an UnreadableExample that names the file."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning, AstropyWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
            with fits.open(path, memmap=False, lazy_load_hdus=False) as units:
                yield units
    except UnreadableExample:
        raise
    except Exception as error:
        # Broken files make the parser raise anything: OSError, TypeError, ValueError, struct.error, zlib.error …
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableExample(f"{path} cannot be read: {words}", "mend or remove the file") from error


def _is_image(unit: Any) -> bool:
    return bool(unit.is_image) and unit.header.get("NAXIS", 0) in (2, 3)


def _planes(unit: Any) -> Iterator[np.ndarray]:
    data = unit.data
    yield from data if data.ndim == 3 else [data]


def _find(path: Path, images: Sequence[Any], units: Sequence[Any], band: str) -> np.ndarray:
    """A band by an extension's name or number, a filter's name, a letter of a cube's BANDS, or EXTENSION:PLANE."""
    match = PLANE.fullmatch(band)
    name, plane = (match[1], int(match[2])) if match else (band, None)
    for unit in images:
        known = {
            unit.name,
            str(unit.header.get("FILTER", "")),
            str(unit.header.get("BAND", "")),
            str(_place(units, unit)),
        }
        if name.strip().lower() in {word.strip().lower() for word in known if word.strip()}:
            return _plane(path, unit, band, plane)
        letters = str(unit.header.get("BANDS", "")).strip()
        if plane is None and len(name) == 1 and name in letters and unit.header["NAXIS"] == 3:
            return _plane(path, unit, band, letters.index(name))
    names = [unit.name or str(_place(units, unit)) for unit in images]
    names += [letter for unit in images for letter in str(unit.header.get("BANDS", "")).strip()]
    raise UnreadableExample(f"{path} has no band {band!r} (dataset.bands)", did_you_mean(band, names))


def _place(units: Sequence[Any], unit: Any) -> int:
    return next(i for i, one in enumerate(units) if one is unit)


def _plane(path: Path, unit: Any, band: str, plane: int | None) -> np.ndarray:
    planes = list(_planes(unit))
    if plane is None and len(planes) > 1:
        raise UnreadableExample(
            f"{path}: {band!r} is a cube of {len(planes)} planes (dataset.bands)", f"name one of them: {band}:0"
        )
    if plane is not None and plane >= len(planes):
        raise UnreadableExample(
            f"{path}: {band!r} asks for plane {plane} of {len(planes)} (dataset.bands)",
            f"planes are counted from 0 to {len(planes) - 1}",
        )
    return planes[plane or 0]
