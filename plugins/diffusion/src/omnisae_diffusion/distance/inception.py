"""Inception-v3 as FID knows it: torch-fidelity's port of the original weights, where they are on this machine."""

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from omnisae.errors import ConfigError
from omnisae.extract.module import pick_device
from omnisae_diffusion.distance.library import Features
from omnisae_diffusion.picture_set import Pictures
from omnisae_diffusion.plugin_distance import DistanceConfig

FILE = "weights-inception-2015-12-05-6726825d.pth"
"""What torch-fidelity calls the weights; the last word of the name begins the file's SHA-256."""
FEATURES = 2048

REMEDY = (
    "name another model's features, e.g. features: {model: {type: vision.timm, ...}}; or install torch-fidelity and "
    f"put {FILE} in place, or set fetch: true where there is a network"
)


def network(config: DistanceConfig) -> tuple[str, Callable[[Pictures], Features]]:
    """Inception's name and the function that gives its 2,048 features of every picture.

    Raises ConfigError where torch-fidelity or the weights are absent: nothing is fetched unless `fetch` says so.
    """
    if importlib.util.find_spec("torch_fidelity") is None:
        raise ConfigError("Inception's features need the package torch-fidelity, which is not installed", REMEDY)
    path = weights(config)
    from torchmetrics.image.fid import NoTrainInceptionV3

    device = torch.device(pick_device(config.device))
    made = NoTrainInceptionV3("inception-v3-compat", [str(FEATURES)], None if path is None else str(path)).to(device)

    def features(pictures: Pictures) -> Features:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(pictures), config.batch):
                some = torch.from_numpy(np.array(pictures[start : start + config.batch])).permute(0, 3, 1, 2)
                parts.append(made(some.to(device)).float().cpu().numpy())
        return np.concatenate(parts)

    return "Inception-v3", features


def weights(config: DistanceConfig) -> Path | None:
    """The file of the weights; None where the config lets them be fetched. Raises ConfigError where there is none, or
    where it holds more than tensors."""
    path = config.inception or Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if not path.is_file():
        if config.fetch:
            return None
        raise ConfigError(f"Inception's weights are not on this machine: there is no {path}", REMEDY)
    if config.inception is None:
        _check_sum(path)
    try:
        # The library reads the file without this check, and such a file could hold code: it must hold tensors alone.
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigError(
            f"{path} cannot be read as weights alone: {str(error).splitlines()[0]}",
            "give the file as torch-fidelity publishes it",
        ) from error
    return path


def _check_sum(path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(path.stem.rpartition("-")[2]):
        raise ConfigError(f"{path} is damaged: its SHA-256 begins with {found[:8]}", "remove the file and get it again")
