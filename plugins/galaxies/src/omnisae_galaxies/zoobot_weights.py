"""The model that a config names: as the vision plug-in builds it, or the encoder out of a checkpoint of zoobot.

zoobot (Walmsley et al. 2023, JOSS 8, 5312) trains with Lightning: its .ckpt holds `state_dict` with the timm encoder
behind `encoder.` and the head that predicts votes behind `head.`; of the file, tensors alone are read, never code.
"""

from collections.abc import Mapping
from pathlib import Path

import timm
from torch import Tensor

from omnisae.errors import ConfigError
from omnisae_galaxies.plugin import ZoobotConfig
from omnisae_vision import weights, world
from omnisae_vision.fit import compare, shapes
from omnisae_vision.fit_nearest import Library, advice
from omnisae_vision.fit_read import read
from omnisae_vision.weights import Built

ENCODER = "encoder."


def build(config: ZoobotConfig) -> Built:
    """The model. Raises ConfigError, which names the field and the remedy."""
    if config.pretrained and config.checkpoint is None and ":" in config.model:
        # Encoders on the hub have no head of their own: without this timm would add a random one.
        return weights.build(config.model_copy(update={"arguments": {"num_classes": 0, **config.arguments}}))
    if config.checkpoint is not None and not config.checkpoint.startswith(world.SCHEME):
        path = Path(config.checkpoint).expanduser()
        if path.is_file():
            tensors, about = read(path)
            encoder = encoder_of(tensors)
            if encoder and not about.get(weights.METADATA):
                return _zoobot(config, path, encoder)
    return weights.build(config)


def encoder_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a zoobot checkpoint's encoder, under timm's names; none where it is another's checkpoint."""
    return {name.removeprefix(ENCODER): value for name, value in tensors.items() if name.startswith(ENCODER)}


def _zoobot(config: ZoobotConfig, path: Path, encoder: dict[str, Tensor]) -> Built:
    arguments = {"num_classes": 0, **_channels(config.model, encoder), **config.arguments}
    bare = config.model_copy(update={"checkpoint": None, "pretrained": False, "arguments": arguments})
    built = weights.build(bare)
    own, found = shapes(built.model.state_dict()), shapes(encoder)
    misfit = compare(own, found)
    if misfit:
        remedy = advice(found, Library(_families, timm.create_model), config.model.partition(".")[0])
        raise ConfigError(f"the encoder in {path} does not fit the model {config.model!r}: {misfit}", remedy)
    built.model.load_state_dict(encoder)
    return Built(built.model, None, path.name)


def _channels(model: str, encoder: Mapping[str, Tensor]) -> dict[str, int]:
    """The channels of the encoder's first convolution, where the checkpoint tells."""
    settings = (
        timm.models.get_pretrained_cfg(model.partition(".")[0]) if timm.is_model(model.partition(".")[0]) else None
    )
    first = settings.first_conv if settings is not None else None
    kernel = encoder.get(f"{first}.weight") if isinstance(first, str) else None
    return {"in_chans": int(kernel.shape[1])} if kernel is not None and kernel.ndim == 4 else {}


def _families() -> dict[str, list[str]]:
    """timm's models by the module that defines them."""
    return {module: timm.list_models(module=module) for module in timm.list_modules()}
