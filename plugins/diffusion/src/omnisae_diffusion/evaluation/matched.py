"""Controls of a table of latents: as many others at every time, each firing as often as the one it stands for."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from omnisae_diffusion.selection.entry import Entry
from omnisae_diffusion.selection.means import Means
from omnisae_diffusion.selection.table import LatentTable


def matched(
    table: LatentTable, found: Means, concept: int, gates: Float64[np.ndarray, "step latent"], *, seed: int
) -> LatentTable:
    """A table of random latents: in place of each, one of the eight outside the table whose mean over all groups at
    that time is nearest, with its own gate and target (its mean in group `concept`)."""
    random = np.random.default_rng([seed, *b"matched"])
    level = found.mean.mean(axis=0)
    entries = []
    for step, entry in enumerate(table.entries):
        able = np.setdiff1d(np.flatnonzero(level[step] > 0), table.latents)
        chosen: list[int] = []
        for latent in entry.latents:
            left = np.setdiff1d(able, chosen)
            if not len(left):
                break
            near = left[np.argsort(np.abs(level[step, left] - level[step, latent]), kind="stable")[:8]]
            chosen.append(int(random.choice(near)))
        picked = np.array(chosen, dtype=np.int64)
        entries.append(Entry.of(picked, gates[step, picked], found.mean[concept, step, picked]))
    return LatentTable(
        "random latents",
        table.concept,
        table.identity,
        table.hook,
        tuple(entries),
        table.times,
        table.axis,
        table.binds,
        table.facts,
    )


def shuffled(table: LatentTable, latents: int, *, seed: int) -> LatentTable:
    """The control of a map: every latent stands for another, drawn at random and once for the whole map, so that as
    much is moved at every time and place, in directions that have nothing to do with the concept."""
    other = np.random.default_rng([seed, *b"shuffled"]).permutation(latents)
    entries = tuple(Entry.of(other[one.latents], one.gates, one.targets, one.scores) for one in table.entries)
    return replace(table, method="random latents", entries=entries)
