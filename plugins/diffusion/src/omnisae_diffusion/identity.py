"""What pictures depend on beside what is asked for: the model's weights and how it is run, as a content key."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnisae.store.key import content_key, digest
from omnisae_diffusion.load import HUB
from omnisae_diffusion.plugin import ModuleConfig, PipelineConfig
from omnisae_vision import world

if TYPE_CHECKING:
    from omnisae_diffusion.plugin import ProcessConfig

ELSEWHERE = {"device", "batch_size", "gather", "at", "branch"}
"""Fields on which pictures do not depend, but for rounding."""


def identity(config: "ProcessConfig") -> str:
    """The same for the same weights, wherever they lie, sampled alike. A model on the hub is told by its name, revision
    and variant; a plain network also by the file that defines it.

    Raises ConfigError where a world has no such model.
    """
    told: dict[str, Any] = config.model_dump(mode="json", exclude=ELSEWHERE)
    if isinstance(config, PipelineConfig) and not config.model.startswith(HUB):
        told["model"] = digest(_path(config.model))
    if isinstance(config, ModuleConfig):
        told["weights"] = None if config.weights is None else digest(config.weights.expanduser())
        told["source"] = _source(config.code.partition(":")[0])
    return content_key(told)


def _path(model: str) -> Path:
    if not model.startswith(world.SCHEME):
        return Path(model).expanduser()
    address, _, name = model.partition("/")
    return world.checkpoint(address, name)


def _source(module: str) -> str:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    return digest(Path(found.origin)) if found is not None and found.origin else ""
