"""Turning pictures so that the chest wall lies on the left."""

from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt16


def turned(picture: Shaped[np.ndarray, "y x"]) -> Any:
    """The picture in the mirror."""
    return np.ascontiguousarray(picture[:, ::-1])


def chest_side(grey: UInt16[np.ndarray, "y x"]) -> str:
    """The side from which the breast comes: the one whose outer eighth is brighter."""
    part = max(grey.shape[1] // 8, 1)
    return "left" if grey[:, :part].mean() >= grey[:, -part:].mean() else "right"
