"""The extractor `galaxies.zoobot`."""

from collections.abc import Mapping
from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.extract.dataset import Dataset
from omnisae_galaxies import zoobot_weights
from omnisae_galaxies.plugin import ZoobotConfig
from omnisae_vision import towers_timm
from omnisae_vision.geometry import Geometry
from omnisae_vision.towers import Tower
from omnisae_vision.towers_extractor import TowerExtractor, plain, warn_of_random_weights


class Zoobot(TowerExtractor):
    """A timm encoder on cut-outs, in evaluation mode; nothing is augmented. An encoder of one channel sees the mean of
    the colours, as zoobot's grey ones do."""

    config: ZoobotConfig

    def __init__(self, config: ZoobotConfig, dataset: Dataset) -> None:
        built = zoobot_weights.build(config)
        if built.source == "random":
            warn_of_random_weights(config.model, "set extractor.pretrained: true, or extractor.checkpoint")
        self._grey = _channels(built.model) == 1
        super().__init__(config, built.model, Geometry(_data(config, built.model)))
        self._loss = self.measure(dataset, config.targets or built.label_names)

    def tower(self) -> Tower:
        return towers_timm.tower(self.model, self.picture_size)

    def run(self, model: nn.Module, inputs: Float[Tensor, "example 3 y x"]) -> Any:
        return model(inputs.mean(dim=1, keepdim=True) if self._grey else inputs)

    def describe(self) -> Mapping[str, Any]:
        data = plain(self.geometry.data)
        return {"model": self.config.model, "data": data, "dtype": self.config.dtype, "timm": timm.__version__}


def _data(config: ZoobotConfig, model: nn.Module) -> dict[str, Any]:
    """timm's data config of a model, at the size that the model was built for."""
    data: dict[str, Any] = timm.data.resolve_model_data_config(model)
    size = config.image_size or getattr(getattr(model, "patch_embed", None), "img_size", None)
    height, width = data["input_size"][-2:] if size is None else (size, size) if isinstance(size, int) else size
    data["input_size"] = (3, height, width)
    if config.normalise == "unit":
        data |= {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    elif len(data["mean"]) == 1:
        data |= {name: tuple(data[name]) * 3 for name in ("mean", "std")}
    return data


def _channels(model: nn.Module) -> int:
    """How many channels the model's first convolution reads."""
    return next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), 3)
