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


def table(
    postings: Postings,
    labels: Mapping[str, Float[np.ndarray, " example"]],
    concept: str,
    *,
    identity: str,
    most: int = 64,
    side: int = SELECT,
) -> LatentTable:
    """The map of one concept: at every time and place the mean code of its examples less that of all labelled ones,
    for the `most` latents that differ most there, as targets of `diffusion.steer`.

    Raises ConfigError where the hook point has no place or no time, or places of no fixed number; DatasetError where
    the concept, or what it is compared with, has no example on the side that selects.
    """
    hook = postings.hook
    if TIME not in hook.told or not set(AXES) <= set(hook.axes):
        raise ConfigError(
            f"hook point {hook.name!r} lies along {', '.join(hook.axes) or 'no axis'}, and a map along time, y and x",
            "select at a hook point inside the denoiser that has places",
        )
    sizes = hook.known_sizes
    height, width = sizes["y"], sizes["x"]
    if height is None or width is None:
        raise ConfigError(f"pictures have different grids at {hook.name!r}", "declare the sizes of y and x")
    times = tuple(hook.told[TIME].ticks)
    own = on_side(postings, np.asarray(labels[concept]) == 1, side)
    everyone = on_side(postings, ~np.isnan(np.asarray(labels[concept])), side)
    for what, mask in ((f"the concept {concept!r}", own), ("what it is compared with", everyone)):
        if not mask.any():
            raise DatasetError(f"{what} has no example on the side that selects", "add examples, or split otherwise")
    cell = _cells(postings, height, width)
    change = _mean(postings, cell, own, len(times) * height * width) - _mean(
        postings, cell, everyone, len(times) * height * width
    )
    entries = tuple(_entry(change[[at]].toarray()[0], most) for at in range(change.shape[0]))
    facts = {"examples with the concept": int(own.sum()), "examples compared": int(everyone.sum()), "latents": most}
    return LatentTable(
        METHOD, concept, identity, hook.name, entries, times, grid={"y": height, "x": width}, facts=facts
    )


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
