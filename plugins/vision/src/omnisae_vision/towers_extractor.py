"""What the extractors of all vision libraries share."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.module import ModuleExtractor
from omnisae.hooks.point import HookPoint, View
from omnisae_vision import losses
from omnisae_vision.fit_read import first_lines
from omnisae_vision.geometry import PictureGeometry, as_picture, pixels
from omnisae_vision.layouts import Layouts
from omnisae_vision.probing import Probe
from omnisae_vision.towers import Tower

if TYPE_CHECKING:
    from omnisae.config import HookConfig
    from omnisae_vision.plugin import PicturesConfig

PROBED = 3
"""Pictures in the batch by which shapes are found."""


class TowerExtractor(ModuleExtractor):
    """A vision model that sees pictures of one size. Pictures go through the library's own evaluation transforms;
    nothing is augmented.

    `example.input` is a PIL picture or an array of 8-bit pixels (y x 3). A subclass says what the model's tokens are
    (`tower`), how it is run (`run`) and which numbers it answers with (`answer`).
    """

    config: "PicturesConfig"
    geometry: PictureGeometry

    def __init__(self, config: "PicturesConfig", model: nn.Module, geometry: PictureGeometry) -> None:
        self.dtype = getattr(torch, config.dtype)
        super().__init__(_cast(model, self.dtype), batch_size=config.batch_size, device=config.device)
        self.config, self.geometry = config, geometry
        self._loss: losses.Loss | None = None

    @abstractmethod
    def tower(self) -> Tower:
        """What is known of the model's tokens."""

    def run(self, model: nn.Module, inputs: Float[Tensor, "example 3 y x"]) -> Any:
        """One forward of the hooked model or of its twin, on pictures in the model's dtype."""
        return model(inputs)

    def answer(self, output: Any) -> Float[Tensor, "example c"] | None:
        """The numbers a picture by which the model is judged, out of what `run` returns; None where it has none.

        Default: the output itself, where it is a row a picture.
        """
        return output if isinstance(output, Tensor) and output.ndim == 2 else None

    def answers(self, inputs: Float[Tensor, "example 3 y x"]) -> Float[Tensor, "example c"] | None:
        """The model's own answer on prepared pictures, under whatever edits are in force: class logits, zero-shot
        logits or an embedding; fp32, or None where it has none."""
        with torch.inference_mode():
            found = self.answer(self.forward(inputs.to(self.device)))
        return None if found is None else found.float()

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of what the model sees."""
        return self.geometry.size

    def prepare(self, example: Example) -> Float[Tensor, "3 y x"]:
        return self.geometry.tensor(as_picture(example.input))

    def probe(self) -> Float[Tensor, "example 3 y x"]:
        return torch.zeros(PROBED, 3, *self.picture_size)

    def forward(self, inputs: Float[Tensor, "example 3 y x"]) -> Any:
        return self.run(self.model, inputs.to(self.dtype))

    def declare(self, path: str, view: View, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        probe = Probe(self.model, self.forward, PROBED, self.device)
        return Layouts(self.model, self.tower(), probe, PROBED).find(path, view, shape)

    def resolve(self, hooks: "Sequence[HookConfig]") -> list[HookPoint]:
        try:
            return super().resolve(hooks)
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
            y, x = self.picture_size
            raise ConfigError(
                f"extractor.model: {self.config.model!r} cannot be run on pictures of {y} × {x}: {first_lines(error)}",
                "choose an extractor.image_size that the model takes, or leave out settings that do not go together",
            ) from error

    def loss(self, rows: Sequence[int], inputs: Any) -> Float[Tensor, " example"] | None:
        if self._loss is None:
            return None
        inputs = inputs.to(self.device)
        with torch.inference_mode():
            outputs = self._answer(self.model, inputs)
            return self._loss(rows, inputs, outputs)

    def picture(self, example: Example) -> UInt8[np.ndarray, "y x 3"]:
        return pixels(self.geometry.picture(as_picture(example.input)))

    def place(self, mask: Bool[np.ndarray, "y x"], example: Example) -> Bool[np.ndarray, "y x"]:
        width, height = as_picture(example.input).size
        if mask.shape != (height, width):
            raise DatasetError(
                f"a mask of {mask.shape[1]} × {mask.shape[0]} pixels lies over {example.id!r} of {width} × {height}",
                "give masks at the picture's own size",
            )
        return self.geometry.place(mask)

    def measure(self, dataset: Dataset, names: Sequence[str] | None) -> losses.Loss | None:
        """The loss that the config asks for; `names` are what the model's outputs stand for, where that is known.

        Raises ConfigError or DatasetError where the model or the dataset cannot give it.
        """
        kind = self.config.loss
        if kind == "none":
            return None
        with torch.inference_mode():
            outputs = self._answer(self.model, self.probe().to(self.device)).shape[1]
        if kind == "multilabel":
            return losses.multilabel(dataset, names, outputs)
        if kind == "labels":
            return losses.labelled(dataset, names, outputs)
        return losses.AgainstItself(self.model, self._answer, self.config.outputs)

    def _answer(self, model: nn.Module, inputs: Float[Tensor, "example 3 y x"]) -> Float[Tensor, "example c"]:
        found = self.answer(self.run(model, inputs.to(self.dtype)))
        if found is None:
            raise ConfigError(
                f"extractor.loss is {self.config.loss!r}, and {self.config.model!r} gives no row of numbers a picture",
                "choose loss: none",
            )
        return found.float()


def _cast(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model with its real numbers in this dtype: `model.to` would make real ones of complex rotations as well."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and tensor.dtype != dtype:
            tensor.data = tensor.data.to(dtype)
    return model


def warn_of_random_weights(model: str, remedy: str) -> None:
    """Nothing of what a model with random weights sees means anything: say so."""
    warnings.warn(f"{model} has random weights: {remedy}", stacklevel=3)


def plain(value: Any) -> Any:
    """Settings of a library as JSON: tuples as lists, and what JSON lacks as words."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
