"""The extractor `mammography.timm`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from omnisae.errors import DatasetError, HookError
from omnisae.extract.dataset import Dataset, Example
from omnisae.hooks.point import HookPoint
from omnisae.tokens.arrange import Arranged
from omnisae_mammography import mammo_clip, stream, weights
from omnisae_mammography.breast import breast
from omnisae_mammography.geometry import GreyGeometry, shape_of
from omnisae_mammography.plugin import MammographyTimmConfig
from omnisae_vision import towers_timm
from omnisae_vision.geometry import pixels
from omnisae_vision.towers import Tower
from omnisae_vision.towers_extractor import PROBED, TowerExtractor, warn_of_random_weights

if TYPE_CHECKING:
    from omnisae.config import HookConfig


class MammographyTimm(TowerExtractor):
    """Any timm model on grey pictures of 16 bits. Inputs are one channel, shown to the model as often as it has
    channels. Tokens whose cell is air are left out (`tissue`).

    `outputs` names what the model answers with, where the checkpoint or `targets` says so.
    """

    config: MammographyTimmConfig
    geometry: GreyGeometry  # type: ignore[assignment]

    def __init__(self, config: MammographyTimmConfig, dataset: Dataset) -> None:
        built, theirs = weights.build(config)
        if built.source == "random":
            warn_of_random_weights(config.model, "set extractor.pretrained: true, or extractor.checkpoint")
        self._bands = stream.in_bands(built.model, config.tile) if config.tile is not None else []
        super().__init__(config, built.model, _geometry(config, built.model, theirs))  # type: ignore[arg-type]
        self.outputs: tuple[str, ...] | None = config.targets or built.label_names
        self._channels = _channels(built.model)
        self._loss = self.measure(dataset, self.outputs)

    def tower(self) -> Tower:
        return towers_timm.tower(self.model, self.picture_size)

    def run(self, model: nn.Module, inputs: Float[Tensor, "example c y x"]) -> Any:
        return model(inputs.expand(-1, self._channels, -1, -1))

    def prepare(self, example: Example) -> Float[Tensor, "1 y x"]:
        return self.geometry.tensor(example.input)

    def probe(self) -> Float[Tensor, "example 1 y x"]:
        # At full size one map would fill the memory thrice.
        return torch.zeros(1 if self._bands else PROBED, 1, *self.picture_size)

    def declare(self, path: str, view: Any, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        if len(shape) == 4 and self._bands:
            return "example d y x", {"y": shape[2], "x": shape[3]}
        if len(shape) == 2 and self._bands:
            return "example d", {}
        return super().declare(path, view, shape)

    def resolve(self, hooks: "Sequence[HookConfig]") -> list[HookPoint]:
        points = super().resolve(hooks)
        for point in points:
            for path in point.at:
                inside = next((block for block in self._bands if path.startswith(block + ".")), None)
                if inside is not None:
                    raise HookError(
                        f"hook point {point.name!r} lies within {inside!r}, which extractor.tile computes in bands",
                        f"hook {inside!r} itself, or leave out extractor.tile",
                    )
        return points

    def describe(self) -> Mapping[str, Any]:
        import timm

        kept = {"air": self.config.air, "tissue": self.config.tissue, "share": self.config.share}
        return {
            "model": self.config.model,
            "data": self.geometry.data,
            "dtype": self.config.dtype,
            "timm": timm.__version__,
            **kept,
        }

    def present(
        self, inputs: Float[Tensor, "example c y x"], point: HookPoint, tokens: Arranged
    ) -> Bool[Tensor, " token"] | None:
        """Tokens whose cell holds enough of the kept tissue; all, where tokens have no place in the picture. Special
        tokens stay."""
        if self.config.tissue == "off" or not {"y", "x"} <= set(point.axes):
            return None
        y, x = (tokens.coords[:, point.axes.index(axis)].long() for axis in ("y", "x"))
        sizes = (tokens.sizes["y"], tokens.sizes["x"])
        kept = self.kept(inputs, sizes).to(tokens.values.device)
        return (y < 0) | (x < 0) | kept[tokens.example.long(), y.clamp(min=0), x.clamp(min=0)]

    def kept(self, inputs: Float[Tensor, "example c y x"], grid: tuple[int, int]) -> Bool[Tensor, "example cy cx"]:
        """The cells of a grid over prepared inputs whose tokens are kept."""
        grey = self.geometry.grey(inputs)
        if self.config.tissue == "off":
            return torch.ones(len(grey), *grid, dtype=torch.bool)
        if self.config.tissue == "all":
            bright = (grey > self.config.air).float()
        else:
            areas = [breast(one, self.config.air) for one in grey.cpu().numpy()]
            bright = torch.from_numpy(np.stack(areas).astype(np.float32))
        return adaptive_avg_pool2d(bright[:, None], grid)[:, 0] >= self.config.share - 1e-6

    def picture(self, example: Example) -> UInt8[np.ndarray, "y x 3"]:
        return pixels(self.geometry.picture(example.input))

    def place(self, mask: Bool[np.ndarray, "y x"], example: Example) -> Bool[np.ndarray, "y x"]:
        shape = shape_of(example.input)
        if mask.shape != shape:
            raise DatasetError(
                f"a mask of {mask.shape[1]} × {mask.shape[0]} pixels lies over {example.id!r} of {shape[1]} × "
                f"{shape[0]}",
                "give masks at the picture's own size",
            )
        return self.geometry.place(mask)


def _geometry(config: MammographyTimmConfig, model: nn.Module, theirs: bool) -> GreyGeometry:
    import timm

    data = timm.data.resolve_model_data_config(model)
    size = config.image_size or (mammo_clip.INPUT if theirs else tuple(data["input_size"][-2:]))
    height, width = (size, size) if isinstance(size, int) else size
    mean, std = config.grey or ((mammo_clip.MEAN, mammo_clip.STD) if theirs else _of_colours(data))
    return GreyGeometry((int(height), int(width)), config.fit, float(mean), float(std))


def _of_colours(data: Mapping[str, Any]) -> tuple[float, float]:
    """One mean and deviation for grey: the means over the model's channels."""
    return float(np.mean(data["mean"])), float(np.mean(data["std"]))


def _channels(model: nn.Module) -> int:
    """How many channels the model's first convolution reads."""
    return next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
