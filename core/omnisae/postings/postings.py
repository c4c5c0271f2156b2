"""Posting lists: the encoded tokens inverted, latent → (token, value), as a search engine keeps them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, Int64, UInt8

from omnisae.errors import StoreError
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint
from omnisae.postings.manifest import ARRAYS, HEALTH, Manifest, describe, load
from omnisae.postings.poles import Poles


class Postings:
    """The codes of every token of the SELECT and TEST examples, by latent. All arrays are read-only memory maps.

    A token is a row of the token table: `example` (the dataset's row, ascending), `coords` (its steps on the hook
    point's axes, −1 for special tokens), `role` (index into the layout's roles). `split` is the split of every example
    of the dataset; TRAIN examples have no tokens here.

    Latent l fires at tokens `token[offsets[l]:offsets[l + 1]]`, ascending, with `value` (in the units of the codes).
    `counts` and `maxima` are the number of tokens at which a latent fires and its largest value there (0 where it never
    fires), over all tokens; `counts_select` and `maxima_select` are the same over the SELECT examples.

    Where codes are signed, a latent has two lists, one for either sign, with magnitudes as values: `poles` tells which.
    Whatever is said here of latent l then holds of list l.
    """

    example: Int32[np.ndarray, " token"]
    coords: Int32[np.ndarray, "token axis"]
    role: UInt8[np.ndarray, " token"]
    split: UInt8[np.ndarray, " example"]
    offsets: Int64[np.ndarray, " list+1"]
    token: Int[np.ndarray, " entry"]
    value: Float32[np.ndarray, " entry"]
    counts: Int64[np.ndarray, " list"]
    counts_select: Int64[np.ndarray, " list"]
    maxima: Float32[np.ndarray, " list"]
    maxima_select: Float32[np.ndarray, " list"]

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        for name in ARRAYS:
            setattr(self, name, load(path, name, manifest))
        self._axis_sizes = self.hook.known_sizes
        self._check()

    @classmethod
    def open(cls, path: Path | str) -> "Postings":
        """Raises StoreError where the folder holds none, is truncated, or was written by a newer omnisae."""
        return cls(Path(path), Manifest.read(Path(path)))

    @property
    def hook(self) -> HookPoint:
        """Where the tokens come from."""
        return self.manifest.hook

    @property
    def latents(self) -> int:
        """The number of latents, dead ones among them."""
        return self.manifest.latents

    @property
    def poles(self) -> Poles:
        """What each posting list belongs to; its length is the number of lists."""
        return self.manifest.poles

    @property
    def n_tokens(self) -> int:
        """The number of encoded tokens, those at which nothing fires among them."""
        return self.manifest.tokens

    @property
    def n_examples(self) -> int:
        """The number of examples of the dataset, of whatever split."""
        return self.manifest.examples

    @property
    def shown(self) -> Bool[np.ndarray, " example"]:
        """Which examples were encoded: those of SELECT and TEST that gave a token."""
        mask = np.zeros(self.n_examples, dtype=bool)
        mask[self.example] = True
        return mask

    def health(self) -> dict[str, Any]:
        """The contents of health.json: see docs/metrics.md."""
        found: dict[str, Any] = json.loads((self.path / HEALTH).read_text())
        return found

    def entries(self, latent: int) -> tuple[Int[np.ndarray, " entry"], Float32[np.ndarray, " entry"]]:
        """The tokens at which a latent fires, ascending, and its values there."""
        part = slice(int(self.offsets[latent]), int(self.offsets[latent + 1]))
        return self.token[part], self.value[part]

    def strength(self, latent: int) -> Float32[np.ndarray, " example"]:
        """A latent's largest value in every example of the dataset; 0 where it is silent."""
        out = np.zeros(self.n_examples, dtype=np.float32)
        tokens, values = self.entries(latent)
        if len(tokens):
            rows = self.example[tokens]
            starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
            out[rows[starts]] = np.maximum.reduceat(values, starts)
        return out

    def tokens_of(self, row: int) -> slice:
        """The rows of the token table that belong to one example."""
        return slice(*(int(edge) for edge in np.searchsorted(self.example, [row, row + 1])))

    def firing(self, latent: int, row: int) -> tuple[Int[np.ndarray, "entry axis"], Float32[np.ndarray, " entry"]]:
        """Where a latent fires within one example: coordinates and values, special tokens (coordinates −1) included."""
        tokens, values = self.entries(latent)
        inside = self.tokens_of(row)
        part = slice(*np.searchsorted(tokens, [inside.start, inside.stop]))
        return self.coords[tokens[part]], values[part]

    def sizes(self, row: int) -> dict[str, int]:
        """The number of steps of one example along each axis.

        Where the layout leaves a size open, it is what the example's tokens reach.
        """
        if all(size is not None for size in self._axis_sizes.values()):
            return {name: size for name, size in self._axis_sizes.items() if size is not None}
        coords = self.coords[self.tokens_of(row)]
        reach = coords.max(axis=0) + 1 if len(coords) else np.zeros(len(self._axis_sizes), dtype=np.int32)
        return {
            name: int(reach[i]) if size is None else size for i, (name, size) in enumerate(self._axis_sizes.items())
        }

    def verify(self) -> None:
        """Compare every file's checksum with the manifest's. Raises StoreError at the first that differs."""
        for name, listed in self.manifest.files.items():
            if describe(self.path / name) != listed:
                raise StoreError(
                    f"{self.path / name}: its checksum is not the manifest's: the file was altered or is truncated",
                    "encode again (omnisae encode), or restore the folder from a copy",
                )

    def _check(self) -> None:
        """Raises StoreError where the arrays contradict the manifest."""
        m, lists = self.manifest, len(self.poles)
        wanted = {
            "example": (m.tokens,),
            "coords": (m.tokens, len(self.hook.axes)),
            "role": (m.tokens,),
            "split": (m.examples,),
            "offsets": (lists + 1,),
            "token": (m.entries,),
            "value": (m.entries,),
        } | dict.fromkeys(("counts", "counts_select", "maxima", "maxima_select"), (lists,))
        for name, shape in wanted.items():
            found = getattr(self, name).shape
            if found != shape:
                raise StoreError(
                    f"{self.path / name}.npy: has shape {list(found)} and the manifest says {list(shape)}",
                    "encode again (omnisae encode), or restore the folder from a copy",
                )

    def examples_of(self, side: int) -> Int64[np.ndarray, " row"]:
        """The rows of the encoded examples on one side: SELECT or TEST."""
        if side not in (SELECT, TEST):
            raise ValueError(f"posting lists hold SELECT ({SELECT}) and TEST ({TEST}) examples, not {side}")
        return np.flatnonzero(self.shown & (self.split == side))
