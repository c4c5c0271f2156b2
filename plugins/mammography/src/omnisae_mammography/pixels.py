"""From a file to grey values as a reader sees them: air dark, 16 bits, after rescale and window."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Num, UInt16

from omnisae.errors import OmnisaeError, UnreadableExample
from omnisae_mammography.header import unreadable
from omnisae_mammography.quiet import quiet

Window = Literal["file", "full"] | tuple[float, float]
WHITE = 65_535
PICTURES = (".png", ".tif", ".tiff")


def read(path: Path, name: str, window: Window) -> UInt16[np.ndarray, "y x"]:
    """The picture's grey values, 0 to 65535, as they are to be shown. Raises UnreadableExample, which quotes nothing of
    the file."""
    try:
        with quiet():
            shown = _png(path, name, window) if path.suffix.lower() in PICTURES else _dicom(path, window)
    except OmnisaeError:
        raise
    except Exception as error:
        raise unreadable(name, error) from None
    if not np.isfinite(shown).all():
        raise UnreadableExample(f"{name} has values that are no numbers", "mend or remove the file")
    return np.round(np.clip(shown, 0, 1) * WHITE).astype(np.uint16)


def read_mask(path: Path, name: str) -> Bool[np.ndarray, "y x"]:
    """Where a mask file is not 0. Raises UnreadableExample."""
    try:
        with quiet():
            if path.suffix.lower() in PICTURES:
                return _grey(path, name) > 0
            import pydicom

            return np.asarray(pydicom.dcmread(path).pixel_array > 0)
    except OmnisaeError:
        raise
    except Exception as error:
        raise unreadable(f"the mask of {name}", error) from None


def _dicom(path: Path, window: Window) -> Float[np.ndarray, "y x"]:
    import pydicom
    from pydicom.pixels import apply_rescale

    ds = pydicom.dcmread(path)
    raw = ds.pixel_array
    padding = _padding(ds, raw)
    shown = _window(apply_rescale(raw, ds).astype(np.float64), ds, window, ~padding)
    if str(ds.PhotometricInterpretation).strip() == "MONOCHROME1":
        shown = 1 - shown
    return np.where(padding, 0.0, shown)


def _padding(ds: Any, raw: Num[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """Pixels that the file says are none (PixelPaddingValue, up to its range limit): they become air."""
    low = ds.get("PixelPaddingValue")
    if low is None:
        return np.zeros(raw.shape, dtype=bool)
    high = ds.get("PixelPaddingRangeLimit", low)
    low, high = sorted((int(low), int(high)))
    return np.asarray((raw >= low) & (raw <= high))


def _window(
    values: Float[np.ndarray, "y x"], ds: Any, window: Window, real: Bool[np.ndarray, "y x"]
) -> Float[np.ndarray, "y x"]:
    """Values in [0, 1]. The file's VOI table comes before its window, the first of each counts (DICOM PS3.3,
    C.11.2)."""
    if isinstance(window, tuple):
        return linear(values, *window)
    if window == "file" and ds.get("VOILUTSequence"):
        return _table(values, ds.VOILUTSequence[0])
    if window == "file" and ds.get("WindowCenter") is not None and ds.get("WindowWidth") is not None:
        centre, width = (float(np.atleast_1d(ds[key].value)[0]) for key in ("WindowCenter", "WindowWidth"))
        kind = str(ds.get("VOILUTFunction") or "LINEAR").strip().upper()
        if kind == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)))
        return linear(values, centre, width, exact=kind == "LINEAR_EXACT")
    return full(values, real)


def linear(
    values: Float[np.ndarray, "y x"], centre: float, width: float, exact: bool = False
) -> Float[np.ndarray, "y x"]:
    """DICOM's linear window (PS3.3, C.11.2.1.2.1), or its exact form (C.11.2.1.3.2), onto [0, 1]."""
    if exact:
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def full(values: Float[np.ndarray, "y x"], real: Bool[np.ndarray, "y x"]) -> Float[np.ndarray, "y x"]:
    """From the darkest to the brightest value, onto [0, 1]."""
    known = values[real]
    if not len(known) or known.max() == known.min():
        return np.zeros(values.shape)
    return np.asarray((values - known.min()) / (known.max() - known.min()))


def _table(values: Float[np.ndarray, "y x"], item: Any) -> Float[np.ndarray, "y x"]:
    """A lookup table, whose first entry stands for its second descriptor and all values below."""
    entries, first, bits = (int(word) for word in item.LUTDescriptor)
    entries = entries or 2**16
    if first >= 2**15 and values.min() < 0:
        first -= 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        wide = len(data) >= 2 * entries
        table = np.frombuffer(data, dtype="<u2" if wide else np.uint8)[:entries]
    else:
        table = np.asarray(data, dtype=np.uint16)[:entries]
    at = np.clip(np.round(values).astype(np.int64) - first, 0, len(table) - 1)
    return table[at].astype(np.float64) / (2**bits - 1)


def _png(path: Path, name: str, window: Window) -> Float[np.ndarray, "y x"]:
    grey = _grey(path, name).astype(np.float64)
    if isinstance(window, tuple):
        return linear(grey, *window)
    if window == "full":
        return full(grey, np.ones(grey.shape, dtype=bool))
    return grey / _white(path)


def _grey(path: Path, name: str) -> Num[np.ndarray, "y x"]:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()
        if picture.mode in ("1", "L") or picture.mode.startswith("I"):
            return np.asarray(picture)
        raise UnreadableExample(
            f"{name} is a picture of mode {picture.mode}; a mammogram is grey", "save it as a PNG of 8 or 16 bits"
        )


def _white(path: Path) -> int:
    from PIL import Image

    with Image.open(path) as picture:
        return {"1": 1, "L": 255}.get(picture.mode, WHITE)
