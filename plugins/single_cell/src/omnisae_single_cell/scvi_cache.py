"""Weights of models that were trained in a run, kept under the content of their training."""

import os
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from omnisae.atomic import write_bytes
from omnisae.store.key import content_key


def _file(key: Any) -> Path:
    root = Path(os.environ.get("OMNISAE_CACHE", Path.home() / ".cache" / "omnisae"))
    return root / "scvi" / f"{content_key(key)[:32]}.safetensors"


def cached_weights(key: Any) -> dict[str, Tensor] | None:
    """The weights that `keep_weights` stored under this key, or None."""
    file = _file(key)
    return load_file(file) if file.exists() else None


def keep_weights(key: Any, weights: dict[str, Tensor]) -> None:
    """Store weights under a key (any JSON value)."""
    file = _file(key)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, save({name: value.detach().contiguous().clone() for name, value in weights.items()}))
