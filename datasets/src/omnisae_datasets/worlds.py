"""Finding worlds by name: `world:shapes`, or `world:shapes?n=200&seed=3`. Written once into a cache, then reused."""

import os
import shutil
import tempfile
from importlib import import_module
from pathlib import Path
from urllib.parse import parse_qsl

from omnisae.errors import DatasetError, did_you_mean
from omnisae_datasets.world import World

WORLDS = ("shapes", "phantoms", "galaxies", "digits", "cells", "motifs", "sessions")
SCHEME = "world:"


def find(name: str) -> World:
    """The world of this name, with or without `world:`. Raises DatasetError where there is none."""
    name = name.removeprefix(SCHEME)
    if name not in WORLDS:
        raise DatasetError(f"there is no world {name!r}", did_you_mean(name, WORLDS))
    world: World = import_module(f"omnisae_datasets.{name}").WORLD
    return world


def resolve(address: str) -> Path:
    """The folder of a world, written on first use. `n` and `seed` may be asked for after a `?`.

    Raises DatasetError for an unknown world or option, or where the cache cannot be written.
    """
    name, _, query = address.removeprefix(SCHEME).partition("?")
    world = find(name)
    n, seed = _options(world, query, address)
    place = cache() / "worlds" / f"{name}-{world.key(n, seed)}"
    if not place.is_dir():
        _write(world, n, seed, place)
    return place


def checkpoint(address: str, model: str) -> Path:
    """The shipped weights of a model trained on a world. Raises DatasetError where the world has none of this name."""
    world = find(address.partition("?")[0])
    if model not in world.models:
        raise DatasetError(f"the world {world.name!r} ships no model {model!r}", did_you_mean(model, world.models))
    return world.home / f"{model}.safetensors"


def cache() -> Path:
    """The cache folder: $OMNISAE_CACHE, or omnisae/ in the user's cache folder."""
    named = os.environ.get("OMNISAE_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omnisae"


def _options(world: World, query: str, address: str) -> tuple[int, int]:
    asked = dict(parse_qsl(query, keep_blank_values=True))
    for key, value in asked.items():
        if key not in ("n", "seed"):
            raise DatasetError(
                f"{address!r} asks for {key!r}, which a world does not have", did_you_mean(key, ("n", "seed"))
            )
        if not value.isdecimal() or (key == "n" and int(value) < 1):
            raise DatasetError(f"{address!r} gives {key} as {value!r}; it must be a whole number", f"write ?{key}=200")
    return int(asked.get("n", world.n)), int(asked.get("seed", world.seed))


def _write(world: World, n: int, seed: int, place: Path) -> None:
    """Write beside the final place and move there in one step, so that a half-written world is never taken for one."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except OSError as error:
        raise DatasetError(
            f"the world {world.name!r} cannot be written to {place.parent}: {error.strerror or error}",
            "name a folder that can be written in the environment variable OMNISAE_CACHE",
        ) from error
    try:
        world.write(draft, n, seed)
        draft.chmod(0o755)
        draft.rename(place)
    except OSError as error:
        if not place.is_dir():  # otherwise another process was quicker
            raise DatasetError(
                f"the world {world.name!r} could not be written to {place}: {error.strerror or error}",
                "free some space, or name another folder in the environment variable OMNISAE_CACHE",
            ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
