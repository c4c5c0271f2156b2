"""A sparse-autoencoder engine that knows nothing of any field, and plug-ins that know everything of theirs.

    sae = omnisae.load("runs/shapes/sae")
    codes = sae.encode(activations)
    with sae.edit(model, omnisae.scale(latent=17, by=0.0)):
        logits = model(inputs)

Importing this imports no torch; the names below do when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnisae.interventions.operation import add as add
    from omnisae.interventions.operation import clamp as clamp
    from omnisae.interventions.operation import keep_only as keep_only
    from omnisae.interventions.operation import scale as scale
    from omnisae.interventions.operation import set_to as set_to
    from omnisae.interventions.sae import SAE as SAE
    from omnisae.interventions.sae import load as load
    from omnisae.run import open_run as open_run

_HOMES = {
    "SAE": "omnisae.interventions.sae",
    "add": "omnisae.interventions.operation",
    "clamp": "omnisae.interventions.operation",
    "keep_only": "omnisae.interventions.operation",
    "load": "omnisae.interventions.sae",
    "open_run": "omnisae.run",
    "scale": "omnisae.interventions.operation",
    "set_to": "omnisae.interventions.operation",
}

__all__ = ["SAE", "__version__", "add", "clamp", "keep_only", "load", "open_run", "scale", "set_to"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("omnisae")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'omnisae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
