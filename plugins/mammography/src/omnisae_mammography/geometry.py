"""From grey values to the model's input: resized once, padded with air or stretched, and the same for masks."""

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8, UInt16
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

WHITE = 65_535.0


class GreyGeometry:
    """Grey pictures of 16 bits at the size (height, width) that the model sees. The chest wall's side stays where it
    is: padding is added below and on the right.

    `example.input` is an array (y × x) of 16 bits, or of 8 bits, or a PIL picture, whose grey counts.
    """

    def __init__(self, size: tuple[int, int], fit: Literal["pad", "stretch"], mean: float, std: float) -> None:
        self.size, self.fit, self.mean, self.std = size, fit, mean, std
        self.data: dict[str, Any] = {"size": list(size), "fit": fit, "mean": mean, "std": std}

    def tensor(self, picture: Any) -> Float[Tensor, "1 y x"]:
        """The model's input, normalised."""
        return (self._placed(_grey(picture)) - self.mean) / self.std

    def picture(self, picture: Any) -> Image.Image:
        """What the model sees, in 8 bits."""
        return Image.fromarray(self.eight_bits(picture)).convert("RGB")

    def eight_bits(self, picture: Any) -> UInt8[np.ndarray, "y x"]:
        """What the model sees, in 8 bits of grey."""
        return (self._placed(_grey(picture))[0].clamp(0, 1) * 255).round().byte().numpy()

    def grey(self, inputs: Float[Tensor, "example c y x"]) -> Float[Tensor, "example y x"]:
        """Grey values in [0, 1] back from the model's input."""
        return inputs[:, 0].float() * self.std + self.mean

    def place(self, mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
        """A mask over the raw picture, carried to what the model sees: pixels of which at least half is covered."""
        return (self._placed(torch.from_numpy(mask.astype(np.float32))[None])[0] >= 0.5).numpy()

    def _placed(self, grey: Float[Tensor, "1 y x"]) -> Float[Tensor, "1 y x"]:
        height, width = grey.shape[1:]
        if self.fit == "stretch":
            tall, wide = self.size
        else:
            scale = min(self.size[0] / height, self.size[1] / width)
            tall, wide = (
                max(1, min(side, round(own * scale))) for own, side in zip((height, width), self.size, strict=True)
            )
        if (tall, wide) != (height, width):
            grey = interpolate(grey[None], size=(tall, wide), mode="bilinear", antialias=True, align_corners=False)[0]
        return pad(grey, (0, self.size[1] - wide, 0, self.size[0] - tall))


def _grey(picture: Any) -> Float[Tensor, "1 y x"]:
    """Grey values in [0, 1]."""
    raw = np.asarray(picture.convert("L")) if isinstance(picture, Image.Image) else np.asarray(picture)
    if raw.ndim == 3:
        raw = np.asarray(Image.fromarray(raw.astype(np.uint8)).convert("L"))
    most = WHITE if raw.dtype == np.uint16 else 255.0
    return torch.from_numpy(raw.astype(np.float32))[None] / most


def shape_of(picture: Any) -> tuple[int, int]:
    """Height and width of an example's input."""
    if isinstance(picture, Image.Image):
        return picture.height, picture.width
    raw: UInt16[np.ndarray, "y x"] = np.asarray(picture)
    return int(raw.shape[0]), int(raw.shape[1])
