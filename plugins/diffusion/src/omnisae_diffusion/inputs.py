"""What goes through the model at once: what is asked for, and pictures where these are noised."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from omnisae.errors import ConfigError
from omnisae.extract.dataset import Example
from omnisae_diffusion.asks import Ask


@dataclass(frozen=True, slots=True)
class Inputs:
    """A batch: asks, and their pictures (−1 to 1) where the dataset gives some."""

    asks: tuple[Ask, ...]
    pictures: Float[Tensor, "picture 3 y x"] | None


def prepared(example: Example, *, noising: bool, size: tuple[int, int]) -> Inputs:
    """One example. A picture is noised by a seed of its row, and the model is told nothing of it."""
    given: Any = example.input
    if isinstance(given, Ask):
        return Inputs((given,), None)
    if not noising:
        raise ConfigError(
            f"example {example.id!r} is a {type(given).__name__}, and pictures are made of prompts",
            "use the dataset diffusion.prompts, or extractor.gather: noising to read the dataset's pictures",
        )
    return Inputs((Ask(seed=example.row),), as_tensor(sized(given, size))[None])


def collated(parts: Sequence[Inputs]) -> Inputs:
    """One batch of several."""
    pictures = [part.pictures for part in parts if part.pictures is not None]
    return Inputs(tuple(ask for part in parts for ask in part.asks), torch.cat(pictures) if pictures else None)


def sized(given: Any, size: tuple[int, int]) -> Image.Image:
    """A picture at this height and width: its shorter side brought to it, then cut at the middle."""
    picture = given if isinstance(given, Image.Image) else Image.fromarray(np.asarray(given))
    picture = picture.convert("RGB")
    height, width = size
    factor = max(height / picture.height, width / picture.width)
    wide, tall = max(round(picture.width * factor), width), max(round(picture.height * factor), height)
    if (wide, tall) != picture.size:
        picture = picture.resize((wide, tall), Image.Resampling.BICUBIC)
    left, top = (wide - width) // 2, (tall - height) // 2
    return picture.crop((left, top, left + width, top + height))


def as_tensor(picture: Image.Image) -> Float[Tensor, "3 y x"]:
    """A picture as numbers from −1 to 1."""
    values = np.asarray(picture, dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
