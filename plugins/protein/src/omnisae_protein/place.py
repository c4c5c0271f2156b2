"""Where files lie: a path, or a small world with known truth (`world:motifs`)."""

from pathlib import Path
from types import ModuleType

from omnisae.errors import PluginError

SCHEME = "world:"


def folder(address: str) -> Path:
    """The folder or file that an address names: a path, or a world, which is written on first use."""
    if not address.startswith(SCHEME):
        return Path(address).expanduser()
    return Path(_worlds(address).resolve(address))


def checkpoint(address: str, model: str) -> Path:
    """The weights that an address names: a path, or those that a world ships for `model`."""
    if not address.startswith(SCHEME):
        return Path(address).expanduser()
    return Path(_worlds(address).checkpoint(address, model))


def _worlds(address: str) -> ModuleType:
    try:
        import omnisae_datasets
    except ImportError as error:
        raise PluginError(
            f"{address!r} needs the distribution omnisae-datasets, which is not installed ({error})",
            "pip install -e datasets (in a clone of the repository), or name a file of your own",
        ) from error
    return omnisae_datasets
