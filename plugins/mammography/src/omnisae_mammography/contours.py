"""INbreast's contours: OsiriX property lists, one a picture, with closed polygons by name."""

import plistlib
import re
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from omnisae.errors import DatasetError

POINT = re.compile(r"\(\s*([-0-9.eE]+)\s*,\s*([-0-9.eE]+)\s*\)")
Polygon = list[tuple[float, float]]


def read(path: Path, name: str) -> list[tuple[str, Polygon]]:
    """The name and the corners (x, y, in pixels) of every region. Raises DatasetError where the file is damaged."""
    try:
        with path.open("rb") as file:
            held = plistlib.load(file, fmt=plistlib.FMT_XML)
        rois = [roi for image in held["Images"] for roi in image["ROIs"]]
        return [(str(roi["Name"]).strip(), _corners(roi["Point_px"])) for roi in rois]
    except Exception as error:
        # The parser's own words may quote the file.
        raise DatasetError(
            f"the contours of {name} cannot be read ({type(error).__name__})",
            "mend or remove the property list of this picture in dataset.contours",
        ) from None


def fill(polygon: Polygon, shape: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """The pixels inside a polygon; a region of one or two points is those pixels."""
    from PIL import Image, ImageDraw

    canvas = Image.new("1", (shape[1], shape[0]))
    pen = ImageDraw.Draw(canvas)
    if len(polygon) < 3:
        pen.point(polygon, fill=1)
    else:
        pen.polygon(polygon, fill=1, outline=1)
    return np.asarray(canvas, dtype=bool)


def _corners(points: list[str]) -> Polygon:
    found = [POINT.fullmatch(point.strip()) for point in points]
    return [(float(match[1]), float(match[2])) for match in found if match is not None]
