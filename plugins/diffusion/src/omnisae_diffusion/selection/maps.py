"""Maps of a concept: how its codes differ from the others', at every time and place.

Where pictures are aligned (faces, digits, scans), a concept has a shape: its latents fire more in some places and less
in others. A map holds that, so that adding it draws the shape, and taking it away wipes it out. SAeUron's tables know
times and no places.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy.sparse import csr_array

from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.split import SELECT
from omnisae.postings.postings import Postings
from omnisae_diffusion.selection.entry import Entry
from omnisae_diffusion.selection.means import TIME, on_side
from omnisae_diffusion.selection.table import LatentTable

METHOD = "map"
AXES = ("y", "x")


class Maps:
    """The mean codes of some labelled concepts at every time and place, over the examples of one side of the split.

    Raises ConfigError where the hook point has no place or no time, or places of no fixed number.
    """

    def __init__(
        self, postings: Postings, labels: Mapping[str, Float[np.ndarray, " example"]], side: int = SELECT
    ) -> None:
        hook = postings.hook
        if TIME not in hook.told or not set(AXES) <= set(hook.axes):
            raise ConfigError(
                f"hook point {hook.name!r} lies along {', '.join(hook.axes) or 'no axis'}, and a map along time, y and "
                "x",
                "select at a hook point inside the denoiser that has places",
            )
        sizes = hook.known_sizes
        height, width = sizes["y"], sizes["x"]
        if height is None or width is None:
            raise ConfigError(f"pictures have different grids at {hook.name!r}", "declare the sizes of y and x")
        self.postings, self.labels, self.side = postings, labels, side
        self.times, self.grid = tuple(hook.told[TIME].ticks), {"y": height, "x": width}
        self._cell = _cells(postings, height, width)
        self._known: dict[bytes, csr_array] = {}

    def table(self, concept: str, *, identity: str, most: int = 64, instead: str | None = None) -> LatentTable:
        """The map of one concept, as targets of `diffusion.steer`, for the `most` latents that differ most at a time
        and place: its mean code less that of all labelled examples. With `instead`, the way from the concept to
        another: the other's mean code less its own, so that adding it puts the other in the concept's place.

        Raises DatasetError where the concept, or what it is compared with, has no example on the side that selects.
        """
        own, column = self._examples(concept, 1), np.asarray(self.labels[concept])
        if instead is None:
            against = on_side(self.postings, ~np.isnan(column), self.side)
            change = self._mean(own, concept) - self._mean(against, None)
        else:
            against = self._examples(instead, 1)
            change = self._mean(against, instead) - self._mean(own, concept)
        entries = tuple(_entry(change[[at]].toarray()[0], most) for at in range(change.shape[0]))
        facts = {"examples with the concept": int(own.sum()), "examples compared": int(against.sum()), "latents": most}
        told = facts if instead is None else facts | {"instead": instead}
        hook = self.postings.hook.name
        return LatentTable(METHOD, concept, identity, hook, entries, self.times, grid=self.grid, facts=told)

    def nearest(self, concept: str) -> list[str]:
        """The other concepts, the one whose mean codes differ least first."""
        mine = self._mean(self._examples(concept, 1), concept)
        far = {
            name: float(abs(self._mean(self._examples(name, 1), name) - mine).sum())
            for name in self.labels
            if name != concept
        }
        return sorted(far, key=lambda name: far[name])

    def _examples(self, concept: str, value: int) -> Bool[np.ndarray, " example"]:
        return on_side(self.postings, np.asarray(self.labels[concept]) == value, self.side)

    def _mean(self, examples: Bool[np.ndarray, " example"], concept: str | None) -> csr_array:
        """The mean of every latent at every time and place over tokens of a concept's examples: cell × latent."""
        if not examples.any():
            what = "what it is compared with" if concept is None else f"the concept {concept!r}"
            raise DatasetError(f"{what} has no example on the side that selects", "add examples, or split otherwise")
        key = examples.tobytes()
        if key not in self._known:
            cells = len(self.times) * self.grid["y"] * self.grid["x"]
            self._known[key] = _mean(self.postings, self._cell, examples, cells)
        return self._known[key]


def _cells(postings: Postings, height: int, width: int) -> Int64[np.ndarray, " token"]:
    """The number of every token's time and place; −1 for special tokens."""
    axes, coords = postings.hook.axes, np.asarray(postings.coords, dtype=np.int64)
    step, y, x = (coords[:, axes.index(axis)] for axis in (TIME, *AXES))
    return np.where((y >= 0) & (x >= 0), (step * height + y) * width + x, -1)


def _mean(
    postings: Postings, cell: Int64[np.ndarray, " token"], examples: Bool[np.ndarray, " example"], cells: int
) -> csr_array:
    """The mean of every latent at every time and place over tokens of some examples: cell × latent."""
    counted = examples[np.asarray(postings.example)] & (cell >= 0)
    count: Float64[np.ndarray, " cell"] = np.bincount(cell[counted], minlength=cells).astype(np.float64)
    offsets = np.asarray(postings.offsets)[: postings.latents + 1]
    token = np.asarray(postings.token[: offsets[-1]])
    latent = np.repeat(np.arange(postings.latents), np.diff(offsets))
    kept = counted[token]
    rows = cell[token[kept]]
    data = np.asarray(postings.value[: offsets[-1]], dtype=np.float64)[kept] / count[rows]
    return csr_array((data, (rows, latent[kept])), shape=(cells, postings.latents))


def _entry(change: Float64[np.ndarray, " latent"], most: int) -> Entry:
    chosen = np.argsort(-np.abs(change), kind="stable")[:most]
    chosen = chosen[change[chosen] != 0]
    return Entry.of(chosen, None, change[chosen], np.abs(change[chosen]))
