"""From a picture to the model's input: timm's own evaluation transforms, and the same geometry for masks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor


class Geometry:
    """Resizing and cropping as timm's data config of a model says; nothing random.

    `picture` is what the model sees, before its values are normalised; `place` carries a mask the same way: a pixel is
    set where at least half of what went into it was.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = dict(data)
        self._shape, self._values = _split(self.data)
        self._place, _ = _split({**self.data, "interpolation": "bilinear", "mean": (0.0, 0.0, 0.0)})

    def picture(self, picture: Image.Image) -> Image.Image:
        """The picture, resized and cropped."""
        for step in self._shape:
            picture = step(picture)
        return picture

    def tensor(self, picture: Image.Image) -> Float[Tensor, "3 y x"]:
        """The model's input."""
        value: Any = self.picture(picture)
        for step in self._values:
            value = step(value)
        return torch.as_tensor(value)

    def place(self, mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
        """A mask over the raw picture, carried to `picture`. What is padded is never set."""
        grey = Image.fromarray(mask.astype(np.uint8) * 255)
        # Padding is given as a colour, which a grey picture cannot take.
        value = Image.merge("RGB", (grey, grey, grey))
        for step in self._place:
            value = step(value)
        return np.asarray(value)[..., 0] >= 128


def pixels(picture: Image.Image) -> UInt8[np.ndarray, "y x 3"]:
    """A picture's pixels."""
    return np.asarray(picture.convert("RGB"))


def as_picture(raw: Any) -> Image.Image:
    """An example's input as a picture: PIL's, or an array of 8-bit pixels (y x 3, or y x)."""
    if isinstance(raw, Image.Image):
        return raw if raw.mode == "RGB" else raw.convert("RGB")
    return Image.fromarray(np.asarray(raw, dtype=np.uint8)).convert("RGB")


def _split(data: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """timm's transforms, parted into those of pictures and those of tensors."""
    from timm.data.transforms_factory import create_transform

    steps = list(create_transform(**data, is_training=False).transforms)
    first = next(i for i, step in enumerate(steps) if "Tensor" in type(step).__name__)
    return steps[:first], steps[first:]
