"""The extractor `vision.timm`."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.module import ModuleExtractor
from omnisae.hooks.point import View
from omnisae_vision import losses, weights
from omnisae_vision.geometry import Geometry, as_picture, pixels
from omnisae_vision.layouts import Layouts
from omnisae_vision.plugin import TimmConfig

PROBED = 3
"""Pictures in the batch by which shapes are found."""


class TimmExtractor(ModuleExtractor):
    """Any timm model. Pictures go through timm's own evaluation transforms for it; nothing is augmented.

    `example.input` is a PIL picture or an array of 8-bit pixels (y x 3).
    """

    def __init__(self, config: TimmConfig, dataset: Dataset) -> None:
        import timm

        built = weights.build(config)
        if built.source == "random":
            warnings.warn(
                f"{config.model} has random weights: set extractor.pretrained: true, or extractor.checkpoint",
                stacklevel=2,
            )
        self.dtype = getattr(torch, config.dtype)
        super().__init__(built.model.to(self.dtype), batch_size=config.batch_size, device=config.device)
        self.config = config
        data = timm.data.resolve_model_data_config(self.model)
        size = config.image_size or getattr(getattr(self.model, "patch_embed", None), "img_size", None)
        if size is not None:
            data["input_size"] = (3, *((size, size) if isinstance(size, int) else size))
        self.geometry = Geometry(data)
        self._loss = self._measure(dataset, built)

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of what the model sees."""
        _, height, width = self.geometry.data["input_size"]
        return int(height), int(width)

    def prepare(self, example: Example) -> Float[Tensor, "3 y x"]:
        return self.geometry.tensor(as_picture(example.input))

    def probe(self) -> Float[Tensor, "example 3 y x"]:
        return torch.zeros(PROBED, 3, *self.picture_size)

    def forward(self, inputs: Float[Tensor, "example 3 y x"]) -> Any:
        return self.model(inputs.to(self.dtype))

    def declare(self, path: str, view: View, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        return Layouts(self.model, self.picture_size, PROBED, self.device).find(path, view, shape)

    def describe(self) -> Mapping[str, Any]:
        import timm

        data = {key: list(value) if isinstance(value, tuple) else value for key, value in self.geometry.data.items()}
        return {"model": self.config.model, "data": data, "dtype": self.config.dtype, "timm": timm.__version__}

    def loss(self, rows: Sequence[int], inputs: Any) -> Float[Tensor, " example"] | None:
        if self._loss is None:
            return None
        inputs = inputs.to(self.device)
        with torch.inference_mode():
            outputs = self.forward(inputs)
            return self._loss(rows, inputs.to(self.dtype), outputs.float())

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

    def _measure(self, dataset: Dataset, built: weights.Built) -> losses.Loss | None:
        if self.config.loss == "none":
            return None
        with torch.inference_mode():
            outputs = self.forward(self.probe().to(self.device))
        if not isinstance(outputs, Tensor) or outputs.ndim != 2:
            raise ConfigError(
                f"extractor.loss is {self.config.loss!r}, and {self.config.model!r} gives no row of numbers a picture",
                "choose loss: none",
            )
        names = self.config.targets or built.label_names
        if self.config.loss == "multilabel":
            return losses.multilabel(dataset, names, outputs.shape[1])
        if self.config.loss == "labels":
            return losses.labelled(dataset, names, outputs.shape[1])
        return losses.AgainstItself(self.model, self.config.outputs)
