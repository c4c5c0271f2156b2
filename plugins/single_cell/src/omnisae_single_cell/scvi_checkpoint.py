"""scvi-tools checkpoints, read without running any code that a file may hold.

scvi-tools' own loader unpickles `model.pt` whole. Here the file is read with `weights_only=True` and a short list of
plain types, so that nothing but numbers, texts and containers comes out of it.
"""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnisae.errors import ArtifactError


@dataclass(frozen=True)
class ScviCheckpoint:
    """What a saved scvi-tools model consists of: weights, gene names, its class's arguments and those of its setup."""

    weights: dict[str, Tensor]
    genes: list[str]
    model: str
    arguments: dict[str, Any]
    setup: dict[str, Any]
    registry: dict[str, Any]


def read_checkpoint(folder: Path) -> ScviCheckpoint:
    """A folder that scvi-tools' `save` wrote. Raises ArtifactError where it is none or holds anything but data."""
    file = folder / "model.pt"
    if not file.exists():
        raise ArtifactError(f"{folder} holds no model.pt", "name the folder that scvi-tools' model.save(...) wrote")
    try:
        with torch.serialization.safe_globals(_plain_types()):
            saved = torch.load(file, map_location="cpu", weights_only=True)
        known = saved["attr_dict"]
        arguments = known["init_params_"]
        registry = known["registry_"]
        return ScviCheckpoint(
            weights={name: value for name, value in saved["model_state_dict"].items() if isinstance(value, Tensor)},
            genes=[str(name) for name in saved["var_names"]],
            model=str(registry["model_name"]),
            arguments=dict(arguments["non_kwargs"])
            | {k: v for d in arguments["kwargs"].values() for k, v in d.items()},
            setup=dict(registry["setup_args"]),
            registry=dict(registry),
        )
    except ArtifactError:
        raise
    except Exception as error:
        raise ArtifactError(
            f"{file} cannot be read as the checkpoint of an scvi-tools model: {str(error).splitlines()[0]}",
            "save it again with scvi-tools 1.1 or newer; files that hold code are refused",
        ) from error


def _mapping(*_: Any) -> "OrderedDict[str, Any]":
    """Stands for `collections.defaultdict`, whose default factory could be any callable."""
    return OrderedDict()


def _plain_types() -> list[Any]:
    numbers = [getattr(np.dtypes, name) for name in dir(np.dtypes) if name.endswith("DType")]
    arrays = [np._core.multiarray._reconstruct, np._core.multiarray.scalar, np.ndarray, np.dtype]
    return [*arrays, *numbers, (_mapping, "collections.defaultdict"), dict, bytes, set, frozenset, slice]
