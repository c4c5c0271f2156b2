"""The extractor `vision.timm`."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from omnisae.extract.dataset import Dataset
from omnisae_vision import towers_timm, weights
from omnisae_vision.geometry import Geometry
from omnisae_vision.plugin import TimmConfig
from omnisae_vision.towers import Tower
from omnisae_vision.towers_extractor import TowerExtractor, plain, warn_of_random_weights


class TimmExtractor(TowerExtractor):
    """Any timm model. Pictures go through timm's own evaluation transforms for it."""

    config: TimmConfig

    def __init__(self, config: TimmConfig, dataset: Dataset) -> None:
        built = weights.build(config)
        if built.source == "random":
            warn_of_random_weights(config.model, "set extractor.pretrained: true, or extractor.checkpoint")
        super().__init__(config, built.model, Geometry(_data(config, built.model)))
        self._loss = self.measure(dataset, config.targets or built.label_names)

    def tower(self) -> Tower:
        return towers_timm.tower(self.model, self.picture_size)

    def describe(self) -> Mapping[str, Any]:
        import timm

        data = plain(self.geometry.data)
        return {"model": self.config.model, "data": data, "dtype": self.config.dtype, "timm": timm.__version__}


def _data(config: TimmConfig, model: nn.Module) -> dict[str, Any]:
    """timm's data config of a model, at the size that the model was built for."""
    import timm

    data: dict[str, Any] = timm.data.resolve_model_data_config(model)
    size = config.image_size or getattr(getattr(model, "patch_embed", None), "img_size", None)
    if size is not None:
        data["input_size"] = (3, *((size, size) if isinstance(size, int) else size))
    return data
