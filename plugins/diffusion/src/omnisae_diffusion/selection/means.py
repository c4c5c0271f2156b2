"""Mean values of latents by step, for groups of examples, off the posting lists in one pass."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.sparse import csr_array

from omnisae.errors import ConfigError, DatasetError
from omnisae.postings.postings import Postings

TIME = "timestep"
ENTRIES = 1 << 24
"""Entries of posting lists looked at at a time."""
SUMS = 1 << 25
"""Sums held at a time, by list, cell and step."""


@dataclass(frozen=True, eq=False)
class Means:
    """`mean[g, t, i]`: the mean of latent i over the tokens of group g at step t, silent tokens among them; `tokens`
    their number. `times` are the values at the steps (empty where the hook point has no such axis: one step then).
    """

    mean: Float64[np.ndarray, "group step latent"]
    tokens: Int64[np.ndarray, "group step"]
    times: tuple[float, ...]


def means(
    postings: Postings,
    groups: Bool[np.ndarray, "group example"],
    *,
    axis: str | None = TIME,
    keep: Bool[np.ndarray, " token"] | None = None,
) -> Means:
    """μ_i(t, D) for every group D of examples, over its prompts and patches.

    `groups` are masks over the dataset's examples and may overlap; which side of the split they lie on is the caller's
    to say (`on_side`). Content tokens count, of these the ones that `keep` marks (such as those of one branch). With
    `axis` None all steps count as one.

    Raises ConfigError where codes are signed or the hook point lacks the axis, DatasetError where a group has no token
    at a step: a mean of nothing is not zero.
    """
    _check(postings, groups, axis)
    step, times = _steps(postings, axis)
    steps = max(len(times), 1)
    example = np.asarray(postings.example)
    counted = np.asarray(postings.role) == 0
    if keep is not None:
        counted = counted & keep
    # Where classes exclude each other, examples share few patterns of membership: sums by pattern cost less.
    patterns, pattern = np.unique(groups.T, axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    cells, weights = len(patterns), patterns.T.astype(np.float64)
    if cells > 2 * len(groups):
        cells, weights = len(groups), np.eye(len(groups))
        spread = csr_array(groups.T.astype(np.float64))[example]
    else:
        spread = csr_array((np.ones(len(example)), (np.arange(len(example)), pattern[example])), (len(example), cells))
    at = _by_step(spread, step, counted, steps)
    tokens = (weights @ np.asarray(at.sum(axis=0)).reshape(cells, steps)).round().astype(np.int64)
    _check_tokens(tokens, times)
    out = np.empty((len(groups), steps, postings.latents))
    for lists, found in _blocks(postings, at):
        sums = np.einsum("gc,lct->gtl", weights, found.reshape(-1, cells, steps), optimize=True)
        out[:, :, lists] = sums / tokens[:, :, None]
    return Means(out, tokens, times)


def on_side(
    postings: Postings, mask: Bool[np.ndarray, "*group example"], side: int
) -> Bool[np.ndarray, "*group example"]:
    """Those of the examples that lie on one side of the split (`omnisae.extract.split`: SELECT or TEST) and were
    encoded."""
    return np.asarray(mask & postings.shown & (np.asarray(postings.split) == side))


def _by_step(
    spread: csr_array, step: Int64[np.ndarray, " token"], counted: Bool[np.ndarray, " token"], steps: int
) -> csr_array:
    """token × (cell, step): which sums a token adds to. Tokens that do not count add to none."""
    entries = np.diff(spread.indptr)
    columns = spread.indices.astype(np.int64) * steps + np.repeat(step, entries)
    data = spread.data * np.repeat(counted, entries)
    found = csr_array((data, columns, spread.indptr), shape=(spread.shape[0], spread.shape[1] * steps))
    found.eliminate_zeros()
    return found


def _blocks(postings: Postings, at: csr_array) -> Iterator[tuple[slice, Float64[np.ndarray, "list cell"]]]:
    """The sums of every list, some lists at a time."""
    offsets = np.asarray(postings.offsets)
    start = 0
    while start < postings.latents:
        by_entries = int(np.searchsorted(offsets, offsets[start] + ENTRIES, side="right")) - 1
        stop = max(start + 1, min(by_entries, start + SUMS // max(at.shape[1], 1), postings.latents))
        part = slice(int(offsets[start]), int(offsets[stop]))
        values = np.asarray(postings.value[part], dtype=np.float64)
        tokens = np.asarray(postings.token[part])
        lists = csr_array((values, tokens, offsets[start : stop + 1] - part.start), (stop - start, postings.n_tokens))
        yield slice(start, stop), (lists @ at).toarray()
        start = stop


def _steps(postings: Postings, axis: str | None) -> tuple[Int64[np.ndarray, " token"], tuple[float, ...]]:
    if axis is None:
        return np.zeros(postings.n_tokens, dtype=np.int64), ()
    step = np.asarray(postings.coords[:, postings.hook.axes.index(axis)], dtype=np.int64)
    return step, tuple(postings.hook.told[axis].ticks)


def _check(postings: Postings, groups: Bool[np.ndarray, "group example"], axis: str | None) -> None:
    if postings.poles.signed:
        raise ConfigError(
            f"the codes at {postings.hook.name!r} are signed, and normalised means are of codes that are not negative",
            "train an autoencoder whose codes are not negative (core.topk, core.batchtopk, core.jumprelu, core.relu)",
        )
    if axis is not None and axis not in postings.hook.told:
        has = ", ".join(postings.hook.axes) or "none"
        raise ConfigError(
            f"hook point {postings.hook.name!r} does not lie along {axis!r} (its axes: {has})",
            "select at a hook point inside the denoiser, or without a time axis",
        )
    if groups.ndim != 2 or groups.shape[1] != postings.n_examples or groups.dtype != bool:
        raise ValueError(f"groups are masks over {postings.n_examples} examples, not {groups.dtype} {groups.shape}")


def _check_tokens(tokens: Int64[np.ndarray, "group step"], times: tuple[float, ...]) -> None:
    if (tokens == 0).any():
        group, step = np.argwhere(tokens == 0)[0]
        where = f" at step {step} (time {times[step]:g})" if times else ""
        raise DatasetError(
            f"group {group} has no token{where}, so that no latent has a mean there",
            "give each group examples that were encoded at every step on the side of the split that selects",
        )
