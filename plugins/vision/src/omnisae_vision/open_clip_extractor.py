"""The extractor `vision.open_clip`."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from omnisae.extract.dataset import Dataset
from omnisae_vision import open_clip_tower
from omnisae_vision.open_clip_text import TextTower, embedding, open_clip_geometry
from omnisae_vision.open_clip_weights import build, library
from omnisae_vision.plugin import OpenClipConfig
from omnisae_vision.towers import Tower
from omnisae_vision.towers_extractor import TowerExtractor, plain, warn_of_random_weights


class OpenClipExtractor(TowerExtractor):
    """The image tower of an open_clip model, with open_clip's own evaluation transforms.

    The model's answer is its embedding; where the config names classes, their zero-shot logits: the cosines with the
    classes' text vectors, scaled as the model learnt to (Radford et al. 2021).
    """

    config: OpenClipConfig

    def __init__(self, config: OpenClipConfig, dataset: Dataset) -> None:
        built = build(config)
        if built.source == "random":
            warn_of_random_weights(config.model, "set extractor.pretrained to one of its tags, or extractor.checkpoint")
        visual = built.model.visual
        super().__init__(config, visual, open_clip_geometry(visual))
        self._loss = self.measure(dataset, config.classes)

    @cached_property
    def text(self) -> TextTower:
        """The model's text tower, built when it is first asked."""
        return TextTower(self.config)

    @cached_property
    def _classes(self) -> tuple[Float[Tensor, "class d"], float, float]:
        vectors = self.text.classes(self.config.classes or (), self.config.prompts).to(self.device)
        found = vectors, *self.text.scale
        del self.text  # both towers are built there once more: what is kept is what they said
        return found

    def tower(self) -> Tower:
        return open_clip_tower.tower(self.model, self.picture_size)

    def answer(self, output: Any) -> Float[Tensor, "example c"]:
        vectors = embedding(output)
        if self.config.classes is None:
            return vectors
        classes, scale, bias = self._classes
        return scale * normalize(vectors.float(), dim=1) @ classes.T + bias

    def describe(self) -> Mapping[str, Any]:
        data = plain(self.geometry.data)
        return {
            "model": self.config.model,
            "data": data,
            "dtype": self.config.dtype,
            "open_clip": library().__version__,
        }
