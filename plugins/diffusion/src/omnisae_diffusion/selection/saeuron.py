"""SAeUron's selection (Cywiński & Deja 2025, "SAeUron: Interpretable Concept Unlearning in Diffusion Models with Sparse
Autoencoders"): the latents that at each denoising step fire for one concept more than for the others, and the edit
that turns them round.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.split import SELECT
from omnisae.postings.postings import Postings
from omnisae_diffusion.selection.entry import Entry
from omnisae_diffusion.selection.means import TIME, Means, means, on_side
from omnisae_diffusion.selection.quantile import above
from omnisae_diffusion.selection.table import Binding, LatentTable

METHOD = "saeuron"


def score(
    concept: Float64[np.ndarray, "*step latent"], rest: Float64[np.ndarray, "*step latent"]
) -> Float64[np.ndarray, "*step latent"]:
    """score(i, t, c) = μ_i(t, D_c) / Σ_j μ_j(t, D_c) − μ_i(t, D_¬c) / Σ_j μ_j(t, D_¬c).

    Between −1 and 1. Where no latent fires at all on one side, its share is 0 there.
    """
    return np.asarray(_shares(concept) - _shares(rest))


def select(scores: Float64[np.ndarray, " latent"], percentile: float) -> Int64[np.ndarray, " chosen"]:
    """The latents whose score lies strictly above the percentile of all scores of the step, the highest first (of
    equals the lowest latent). See `quantile.above` for ties: 99.99 of 20,480 latents are exactly 3.
    """
    chosen = np.flatnonzero(above(scores, percentile))
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def tables(
    postings: Postings,
    labels: Mapping[str, Float[np.ndarray, " example"]],
    *,
    percentile: float | Mapping[str, float],
    identity: str,
    side: int = SELECT,
    axis: str | None = TIME,
    keep: Bool[np.ndarray, " token"] | None = None,
    binds: Binding = "time",
    only: Sequence[str] | None = None,
) -> dict[str, LatentTable]:
    """The table of each concept (or of those in `only`) from the posting lists of one side of the split.

    `labels` say of each example 1 for the concept (D_c), 0 for another (D_¬c), NaN for neither. The gate of a latent
    at a step is its mean over all concepts, each counting alike; its target is μ_i(t, D_c). Upstream takes one prompt
    an object and equally many of each, where that is the mean over all prompts. The score of the paper is of one step;
    upstream's tables are bound to the number of steps, ours by default to scheduler times.

    Raises DatasetError where a concept has no example, or there is none without it; else as `means`.
    """
    names = list(labels)
    groups = np.concatenate([_groups(postings, labels, 1, side), _groups(postings, labels, 0, side)])
    found = means(postings, groups, axis=axis, keep=keep)
    wanted = names if only is None else [name for name in names if name in set(only)]
    return {
        name: _table(found, names, name, percentile[name] if isinstance(percentile, Mapping) else percentile,
                     identity, postings.hook.name, axis, binds, groups)
        for name in wanted
    }  # fmt: skip


def gates(found: Float64[np.ndarray, "concept step latent"]) -> Float64[np.ndarray, "step latent"]:
    """The level that a latent must exceed at a step to be edited: its mean over all concepts, each counting alike."""
    return np.asarray(found.mean(axis=0))


def edited(codes: Float[np.ndarray, "token latent"], entry: Entry, gamma: float) -> Float[np.ndarray, "token latent"]:
    """The edit, of dense codes at one time: where z_i > gate_i, z_i ← γ · μ_i(t, D_c) · z_i; all else as it was.

    γ is −1 for styles in the paper, and −1 to −30 for objects. Operations do the same to sparse codes.
    """
    out = codes.copy()
    block = codes[:, entry.latents]
    out[:, entry.latents] = np.where(block > entry.gates, gamma * entry.targets * block, block)
    return out


def _shares(mean: Float64[np.ndarray, "*step latent"]) -> Float64[np.ndarray, "*step latent"]:
    total = mean.sum(axis=-1, keepdims=True)
    return np.asarray(mean / np.where(total > 0, total, 1.0))


def _groups(
    postings: Postings, labels: Mapping[str, Float[np.ndarray, " example"]], value: int, side: int
) -> Bool[np.ndarray, "concept example"]:
    """The examples of every concept with this label, on one side of the split."""
    if len(labels) == 0:
        raise ConfigError("no concept was given", "name at least one concept and label its examples")
    groups = on_side(postings, np.stack([np.asarray(column) == value for column in labels.values()]), side)
    for name, mask in zip(labels, groups, strict=True):
        if not mask.any():
            what = "with the concept" if value else "without it"
            raise DatasetError(
                f"the concept {name!r} has no encoded example {what} on the side of the split that selects",
                "leave it out, add examples, or split otherwise (score.split)",
            )
    return groups


def _table(
    found: Means,
    names: Sequence[str],
    name: str,
    percentile: float,
    identity: str,
    hook: str,
    axis: str | None,
    binds: Binding,
    groups: Bool[np.ndarray, "group example"],
) -> LatentTable:
    here, concepts = names.index(name), len(names)
    scores = score(found.mean[here], found.mean[concepts + here])
    level = gates(found.mean[:concepts])
    entries = []
    for step, row in enumerate(scores):
        chosen = select(row, percentile)
        entries.append(Entry.of(chosen, level[step, chosen], found.mean[here, step, chosen], row[chosen]))
    return LatentTable(
        method=METHOD,
        concept=name,
        identity=identity,
        hook=hook,
        entries=tuple(entries),
        times=found.times,
        axis=axis,
        binds=binds,
        facts={
            "percentile": percentile,
            "examples with the concept": int(groups[here].sum()),
            "examples without it": int(groups[concepts + here].sum()),
            "concepts that the gate is the mean of": concepts,
        },
    )
