"""A world: a recipe that writes a small dataset, and the models that were trained on it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class World:
    """`write(out, n, seed)` writes `n` examples below `out`; `world:<name>` stands for the `n` and `seed` given here.

    `recipe` names the files in `home` that decide what is written: where they change, the world is written anew.
    `models` are the checkpoints in `home`, `<model>.safetensors` each.
    """

    name: str
    about: str
    n: int
    seed: int
    noun: str
    write: Callable[[Path, int, int], None]
    home: Path
    recipe: tuple[str, ...]
    models: tuple[str, ...] = ()

    def key(self, n: int, seed: int) -> str:
        """A hash of all that decides what is written: twelve hex digits."""
        digest = hashlib.sha256(f"{self.name} {n} {seed}".encode())
        for name in self.recipe:
            digest.update((self.home / name).read_bytes())
        return digest.hexdigest()[:12]
