"""The extractor `vision.transformers`."""

import inspect
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from omnisae.extract.dataset import Dataset
from omnisae_vision.plugin import TransformersConfig
from omnisae_vision.towers import Tower
from omnisae_vision.towers_extractor import TowerExtractor, plain, warn_of_random_weights
from omnisae_vision.transformers_geometry import geometry
from omnisae_vision.transformers_packing import arguments
from omnisae_vision.transformers_tower import tower
from omnisae_vision.transformers_weights import build, library

ANSWERS = ("logits", "image_embeds", "pooler_output")
"""What of an output is a row of numbers a picture, the better one first."""


class TransformersExtractor(TowerExtractor):
    """A vision model of transformers, or the vision tower of a vision-language model.

    The model's answer is its logits where it has a head, else its pooled vector, else the mean of its tokens.
    """

    config: TransformersConfig

    def __init__(self, config: TransformersConfig, dataset: Dataset) -> None:
        built = build(config)
        if built.source == "random":
            warn_of_random_weights(
                config.model, "set extractor.model to a folder with weights, or to hf-hub:owner/name"
            )
        self._own = built.config
        self._parameters = inspect.signature(built.model.forward).parameters
        super().__init__(config, built.model, geometry(config, built))
        self._loss = self.measure(dataset, config.targets or built.label_names)

    def tower(self) -> Tower:
        return tower(self.model, self._own, self.picture_size)

    def run(self, model: nn.Module, inputs: Float[Tensor, "example 3 y x"]) -> Any:
        output = model(**arguments(self._own, self._parameters, inputs))
        return output, len(inputs)

    def answer(self, output: Any) -> Float[Tensor, "example c"] | None:
        made, examples = output
        for name in ANSWERS:
            found = getattr(made, name, None)
            if isinstance(found, Tensor) and len(found) == examples:
                return found.flatten(1)
        last = getattr(made, "last_hidden_state", None)
        if not isinstance(last, Tensor) or len(last) % examples:
            return None
        if last.ndim == 2:  # all pictures of the batch in one sequence
            last = last.unflatten(0, (examples, -1))
        return last.mean(1) if last.ndim == 3 else last.flatten(2).mean(2)

    def describe(self) -> Mapping[str, Any]:
        data, version = plain(self.geometry.data), library().__version__
        return {"model": self._own.model_type, "data": data, "dtype": self.config.dtype, "transformers": version}
