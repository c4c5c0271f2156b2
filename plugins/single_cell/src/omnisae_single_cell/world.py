"""Where files lie: a path, a file that scanpy brings along (`scanpy:`), or a small world with known truth."""

from importlib.util import find_spec
from pathlib import Path

from omnisae.errors import DatasetError, PluginError, did_you_mean

WORLD, SCANPY = "world:", "scanpy:"
BUNDLED = {"pbmc68k_reduced": "10x_pbmc68k_reduced.h5ad"}
"""Files that scanpy ships inside its package: real cells without a network."""


def locate(address: str, inside: str) -> Path:
    """The file that an address names. `inside` is its name within a world.

    Raises DatasetError where there is no such world or bundled file, PluginError where omnisae-datasets is missing.
    """
    if address.startswith(WORLD):
        return _world(address) / inside
    if address.startswith(SCANPY):
        return _bundled(address.removeprefix(SCANPY))
    return Path(address).expanduser()


def _world(address: str) -> Path:
    try:
        import omnisae_datasets
    except ImportError as error:
        raise PluginError(
            f"{address!r} needs the distribution omnisae-datasets, which is not installed ({error})",
            "pip install -e datasets (in a clone of the repository), or name a file of your own",
        ) from error
    return Path(omnisae_datasets.resolve(address))


def _bundled(name: str) -> Path:
    if name not in BUNDLED:
        raise DatasetError(f"scanpy brings no file {name!r} along", did_you_mean(name, BUNDLED))
    spec = find_spec("scanpy")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise DatasetError("scanpy is not installed", "pip install scanpy")
    return Path(folders[0]) / "datasets" / BUNDLED[name]
