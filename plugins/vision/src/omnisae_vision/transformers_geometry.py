"""How pictures come to a model of transformers: through its own image processor, at one size."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from omnisae.errors import ConfigError
from omnisae_vision.fit_read import first_lines
from omnisae_vision.geometry import Geometry, PictureGeometry, as_mask_picture
from omnisae_vision.plugin import TransformersConfig
from omnisae_vision.towers_extractor import plain
from omnisae_vision.transformers_packing import PACKED, sides
from omnisae_vision.transformers_weights import HUB, Built, address

BILINEAR = int(Image.Resampling.BILINEAR)
PROCESSORS = ("preprocessor_config.json", "processor_config.json", "image_processor_config.json")
NOT_GEOMETRY = ("image_processor_type", "processor_class", "_processor_class", "auto_map")


class ProcessorGeometry:
    """Resizing and cropping by an image processor of transformers."""

    def __init__(self, processor: Any, size: tuple[int, int]) -> None:
        self._processor, self._size = processor, size
        said = {key: value for key, value in processor.to_dict().items() if key not in NOT_GEOMETRY}
        self.data: dict[str, Any] = plain({"processor": type(processor).__name__, **said})

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the model sees."""
        return self._size

    def picture(self, picture: Image.Image) -> Image.Image:
        """What the model sees, before its values are normalised."""
        return Image.fromarray(self._shape(picture))

    def tensor(self, picture: Image.Image) -> Float[Tensor, "3 y x"]:
        """The model's input."""
        return torch.as_tensor(np.asarray(self._processor(images=picture, return_tensors="pt")["pixel_values"][0]))

    def place(self, mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
        """A mask over the raw picture, carried to `picture`."""
        return self._shape(as_mask_picture(mask), resample=BILINEAR)[..., 0] >= 128

    def _shape(self, picture: Image.Image, **given: Any) -> np.ndarray:
        made = self._processor(images=picture, do_rescale=False, do_normalize=False, return_tensors="np", **given)
        values = np.asarray(made["pixel_values"][0]).transpose(1, 2, 0)
        return values.round().clip(0, 255).astype(np.uint8)


def geometry(config: TransformersConfig, built: Built) -> PictureGeometry:
    """The geometry of the model's own image processor, at the size that the config or the model names.

    Where the processor gives no single picture of that size (it cuts tiles, or packs patches), pictures are resized to
    the size and normalised as the processor does. Raises ConfigError where no size is known.
    """
    processor = _processor(config, built)
    wanted = sides(config.image_size) or _own_size(built.config)
    if processor is not None and built.config.model_type not in PACKED:
        made = _fixed(processor, wanted)
        if made is not None:
            return made
    if wanted is None:
        raise ConfigError(
            f"extractor.image_size: a {built.config.model_type} model has no picture size of its own",
            "set extractor.image_size to the pixels (height, width) that it shall see, e.g. 448",
        )
    return Geometry(_squashed(processor, wanted), _squash)


def _fixed(processor: Any, wanted: tuple[int, int] | None) -> ProcessorGeometry | None:
    """The processor at a size, if it then gives one picture of that size whatever it is shown."""
    if wanted is not None:
        _resize(processor, wanted)
    seen = set()
    for shape in ((40, 64), (64, 40)):
        try:
            made = processor(images=Image.new("RGB", shape), return_tensors="np")["pixel_values"]
        except (ValueError, TypeError, KeyError, RuntimeError):
            return None
        seen.add(np.asarray(made).shape)
    shape = seen.pop()
    if seen or len(shape) != 4 or shape[1] != 3 or (wanted is not None and shape[2:] != wanted):
        return None
    return ProcessorGeometry(processor, (int(shape[2]), int(shape[3])))


def _resize(processor: Any, wanted: tuple[int, int]) -> None:
    """Set a processor's size; what it crops away stays the same share."""
    both = {"height": wanted[0], "width": wanted[1]}
    size = _mapping(getattr(processor, "size", None))
    crop = sides(_mapping(getattr(processor, "crop_size", None)))
    cropped = bool(getattr(processor, "do_center_crop", False)) and crop is not None
    if cropped:
        processor.crop_size = both
    share = max(wanted) / max(crop) if cropped and crop is not None else None
    if "shortest_edge" in size:
        edge = round(size["shortest_edge"] * share) if share else max(wanted)
        processor.size = {"shortest_edge": edge}
    elif sides(size) is not None and share:
        processor.size = {"height": round(size["height"] * share), "width": round(size["width"] * share)}
    else:
        processor.size = both


def _processor(config: TransformersConfig, built: Built) -> Any:
    """The folder's or the hub's image processor, else the library's own for such a model; None where it has none."""
    from transformers import AutoImageProcessor

    place = config.model
    if place.startswith(HUB) or any((Path(place).expanduser() / name).is_file() for name in PROCESSORS):
        try:
            return AutoImageProcessor.from_pretrained(**address(place), trust_remote_code=False)
        except (OSError, ValueError, ImportError, KeyError) as error:
            raise ConfigError(
                f"the image processor of {place!r} cannot be had: {first_lines(error)}",
                "keep its preprocessor_config.json beside the model, or check the network",
            ) from error
    if built.source != "random":
        warnings.warn(
            f"{place} has no preprocessor_config.json to say how pictures come to the model: the library's own image "
            "processor for such a model is used",
            stacklevel=4,
        )
    return _library_processor(built)


def _library_processor(built: Built) -> Any:
    """The image processor that transformers has for the model's type, or for the model of which it is the tower."""
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    beside = [own for own in IMAGE_PROCESSOR_MAPPING if own.__module__ == type(built.config).__module__]
    for own in (type(built.config), type(built.whole), *beside):
        if own in IMAGE_PROCESSOR_MAPPING:
            kinds = IMAGE_PROCESSOR_MAPPING[own]
            kind = (kinds.get("torchvision") or kinds.get("pil")) if isinstance(kinds, Mapping) else kinds
            try:
                return kind() if kind is not None else None
            except TypeError:  # one that cannot be made without a checkpoint's own settings
                return None
    return None


def _own_size(own: Any) -> tuple[int, int] | None:
    """The picture size of a configuration: its image size, or that of a square of its positions."""
    size, patches = sides(getattr(own, "image_size", None)), getattr(own, "num_patches", None)
    if size is None and isinstance(patches, int) and isinstance(own.patch_size, int):
        side = round(patches**0.5)  # SigLIP 2's positions are a square table by definition
        return side * own.patch_size, side * own.patch_size
    return size


def _squashed(processor: Any, size: tuple[int, int]) -> dict[str, Any]:
    mean, std = (getattr(processor, name, None) for name in ("image_mean", "image_std"))
    return {
        "size": size,
        "interpolation": "bicubic",
        "mean": tuple(mean) if mean else (0.5, 0.5, 0.5),
        "std": tuple(std) if std else (0.5, 0.5, 0.5),
    }


def _squash(data: Mapping[str, Any]) -> list[Any]:
    from torchvision import transforms

    way = transforms.InterpolationMode(data["interpolation"])
    return [
        transforms.Resize(data["size"], interpolation=way),
        transforms.ToTensor(),
        transforms.Normalize(data["mean"], data["std"]),
    ]


def _mapping(value: Any) -> dict[str, Any]:
    """A processor's size as a mapping, of what it says."""
    if value is None:
        return {}
    items = value if isinstance(value, Mapping) else vars(value)
    return {key: item for key, item in items.items() if item is not None}
