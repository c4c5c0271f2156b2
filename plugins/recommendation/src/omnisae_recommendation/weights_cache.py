"""Weights of recommenders that were trained in a run, kept under the content of their training."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save
from torch import nn

from omnisae.atomic import write_bytes
from omnisae.store.key import content_key

Model = TypeVar("Model", bound=nn.Module)


def cache() -> Path:
    """The folder of such weights: $OMNISAE_CACHE, or omnisae/ in the user's cache folder."""
    named = os.environ.get("OMNISAE_CACHE")
    root = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omnisae"
    return root / "recommendation"


def trained(key: Any, make: Callable[[], Model], train: Callable[[], Model]) -> Model:
    """The model that `train` gives, or the one that `make` gives with the weights of the same training done before.

    `key` (any JSON value) says what the training depends on.
    """
    file = cache() / f"{content_key([key, torch.__version__])[:32]}.safetensors"
    if file.exists():
        model = make()
        model.load_state_dict(load_file(file))
        return model
    model = train()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}))
    return model
