"""From a picture to the model's input: a library's own evaluation transforms, and the same geometry for masks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

Steps = list[Any]
"""Transforms in order, each of which is called with what the one before gave."""


class PictureGeometry(Protocol):
    """Resizing and cropping as a model wants them; nothing random."""

    data: dict[str, Any]
    """What decides it, as JSON: it counts for the fingerprint."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the model sees."""

    def picture(self, picture: Image.Image) -> Image.Image:
        """What the model sees, before its values are normalised."""

    def tensor(self, picture: Image.Image) -> Float[Tensor, "3 y x"]:
        """The model's input."""

    def place(self, mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
        """A mask over the raw picture, carried to `picture`: a pixel is set where at least half of what went into it
        was. What is padded is never set."""


class Geometry:
    """The geometry that a list of transforms makes of a picture: `steps` makes them from `data`.

    Masks go through the same transforms, bilinear and padded with black.
    """

    def __init__(self, data: Mapping[str, Any], steps: Callable[[Mapping[str, Any]], Steps] | None = None) -> None:
        self.data = dict(data)
        make = steps or timm_steps
        self._shape, self._values = _split(make(self.data))
        self._place, _ = _split(make({**self.data, "interpolation": "bilinear", "mean": (0.0, 0.0, 0.0)}))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the model sees."""
        size = self.data["input_size"][-2:] if "input_size" in self.data else self.data["size"]
        height, width = (size, size) if isinstance(size, int) else size
        return int(height), int(width)

    def picture(self, picture: Image.Image) -> Image.Image:
        """The picture, resized and cropped."""
        return _apply(self._shape, picture)

    def tensor(self, picture: Image.Image) -> Float[Tensor, "3 y x"]:
        """The model's input."""
        return torch.as_tensor(_apply(self._values, self.picture(picture)))

    def place(self, mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
        """A mask over the raw picture, carried to `picture`."""
        return np.asarray(_apply(self._place, as_mask_picture(mask)))[..., 0] >= 128


def timm_steps(data: Mapping[str, Any]) -> Steps:
    """timm's evaluation transforms for a data config."""
    from timm.data.transforms_factory import create_transform

    return list(create_transform(**data, is_training=False).transforms)


def pixels(picture: Image.Image) -> UInt8[np.ndarray, "y x 3"]:
    """A picture's pixels."""
    return np.asarray(picture.convert("RGB"))


def as_picture(raw: Any) -> Image.Image:
    """An example's input as a picture: PIL's, or an array of 8-bit pixels (y x 3, or y x)."""
    if isinstance(raw, Image.Image):
        return raw if raw.mode == "RGB" else raw.convert("RGB")
    return Image.fromarray(np.asarray(raw, dtype=np.uint8)).convert("RGB")


def as_mask_picture(mask: Bool[np.ndarray, "y x"]) -> Image.Image:
    """A mask as a picture in black and white.

    In colour, because padding is given as a colour, which a grey picture cannot take.
    """
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    return Image.merge("RGB", (grey, grey, grey))


def _apply(steps: Sequence[Any], value: Any) -> Any:
    for step in steps:
        value = step(value)
    return value


def _split(steps: Steps) -> tuple[Steps, Steps]:
    """Transforms parted into those of pictures and those of tensors."""
    first = next(i for i, step in enumerate(steps) if "Tensor" in type(step).__name__)
    return steps[:first], steps[first:]
