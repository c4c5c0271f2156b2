"""Diffusion models for omnisae: denoisers over their times, edits of generation, and proof of what they do.

    with omnisae_diffusion.edit(pipe, sae, omnisae.scale(17, by=0.0)):
        pictures = pipe("a chair").images

Importing this imports no torch; the names below do when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnisae_diffusion.editing import edit as edit
    from omnisae_diffusion.selection.table import LatentTable as LatentTable

_HOMES = {"LatentTable": "omnisae_diffusion.selection.table", "edit": "omnisae_diffusion.editing"}

__all__ = ["LatentTable", "edit"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'omnisae_diffusion' has no attribute {name!r}")
