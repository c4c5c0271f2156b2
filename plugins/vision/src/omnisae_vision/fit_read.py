"""Reading the tensors of a checkpoint. Only tensors are unpickled, never code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnisae.errors import ConfigError

HOLDERS = ("state_dict_ema", "model_ema", "state_dict", "model", "teacher")
"""Keys under which training scripts keep the state_dict, the better one first."""


def read(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors of a checkpoint in fp32, and a safetensors file's metadata.

    Raises ConfigError where there is no such file, or where it cannot be read.
    """
    if not path.is_file():
        raise ConfigError(f"extractor.checkpoint: there is no file {path}", "name a .safetensors or .pth file")
    metadata: Mapping[str, str] = {}
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            weights = _state_dict(torch.load(path, map_location="cpu", weights_only=True), path)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the checkpoint {path} cannot be read: {first_lines(error)}",
            "save the model's state_dict alone, best as .safetensors",
        ) from error
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}, metadata


def first_lines(error: BaseException) -> str:
    """What an error says, shortened to what a reader can take in."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:400] or type(error).__name__


def _state_dict(found: Any, path: Path) -> dict[str, Tensor]:
    for key in HOLDERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise ConfigError(f"the checkpoint {path} holds no state_dict", "save model.state_dict()")
    return {name.removeprefix("_orig_mod.").removeprefix("module."): value for name, value in found.items()}
