"""Data chunks: JavaScript files that hand one JSON value to the page. They load from disk, where `fetch` may not."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np


def clean(value: Any) -> Any:
    """The value as JSON knows it: NaN and infinity become null, floats keep four significant digits."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and value.size and np.isfinite(value).all():
            return _near(value).tolist()
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        near = float(f"{value:.4g}")
        return int(near) if near.is_integer() and abs(near) < 2**53 else near
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def _near(values: np.ndarray) -> np.ndarray:
    """Four significant digits. A whole number over a power of ten prints as the decimal that it is."""
    values = values.astype(np.float64)
    size = np.floor(np.log10(np.abs(values), out=np.zeros_like(values), where=values != 0))
    scale = 10.0 ** np.clip(3 - size, 0, 22)
    near: np.ndarray = np.round(values * scale) / scale
    return near


def script(name: str, value: Any) -> str:
    """The chunk's text. It is ASCII and has no `<`, so that no id or label can end the script or break a line."""
    text = json.dumps(clean(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return f"omnisae.put({json.dumps(name)},{text.replace('<', chr(92) + 'u003c')});\n"


def write(folder: Path, name: str, value: Any) -> None:
    """Write the chunk `name` to `data/<name>.js` under the report's folder."""
    path = folder / "data" / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(name, value), encoding="ascii")
