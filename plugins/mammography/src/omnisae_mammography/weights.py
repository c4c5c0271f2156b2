"""The model that a config names: as the vision plug-in builds it, or out of a checkpoint of Mammo-CLIP."""

from pathlib import Path

from torch import Tensor

from omnisae.errors import ConfigError
from omnisae_mammography import mammo_clip
from omnisae_mammography.plugin import MammographyTimmConfig
from omnisae_vision import weights, world
from omnisae_vision.fit import compare, shapes
from omnisae_vision.fit_read import read
from omnisae_vision.weights import Built


def build(config: MammographyTimmConfig) -> tuple[Built, bool]:
    """The model, and whether it is Mammo-CLIP's. Raises ConfigError, which names the field and the remedy."""
    if config.checkpoint is not None and not config.checkpoint.startswith(world.SCHEME):
        path = Path(config.checkpoint).expanduser()
        if path.is_file():
            tensors, about = read(path)
            if not about.get(weights.METADATA) and mammo_clip.is_one(tensors):
                return _mammo_clip(config, path, tensors), True
    return weights.build(config), False


def _mammo_clip(config: MammographyTimmConfig, path: Path, tensors: dict[str, Tensor]) -> Built:
    side = mammo_clip.side_of(config.model)
    head = tensors.get(f"{mammo_clip.HEAD}weight")
    classes = int(head.shape[0]) if head is not None else 0
    arguments = {"num_classes": classes} | dict(config.arguments)
    bare = config.model_copy(update={"checkpoint": None, "pretrained": False, "arguments": arguments})
    built = weights.build(bare)
    found = mammo_clip.to_timm(tensors, built.model)
    misfit = compare(shapes(built.model.state_dict()), shapes(found))
    if misfit:
        raise ConfigError(
            f"the checkpoint {path} of Mammo-CLIP does not fit the model {config.model!r}: {misfit}",
            "name the EfficientNet of its size in extractor.model, and leave out extractor.arguments",
        )
    built.model.load_state_dict(found)
    mammo_clip.static_padding(built.model, side)
    return Built(built.model, None, path.name)
