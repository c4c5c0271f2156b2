"""One vector an example: the largest or the mean of each latent's values, and the model's own activations."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_array

from omnisae.postings.postings import Postings
from omnisae.store.source import TokenSource

Pool = Literal["mean", "max"]


def strengths(postings: Postings) -> csc_array:
    """Each posting list's largest value in every example, example × list."""
    return _reduced(postings, np.asarray(postings.value), np.maximum)


def means(postings: Postings) -> csc_array:
    """Each posting list's mean value over the tokens of every example, silent ones among them, example × list."""
    found = _reduced(postings, np.asarray(postings.value, dtype=np.float64), np.add)
    tokens = tokens_of(postings)
    found.data = (found.data / tokens[found.indices]).astype(np.float32)
    return found


def energies(postings: Postings) -> csc_array:
    """Each posting list's sum of squared values over the tokens of every example, example × list, fp64."""
    return _reduced(postings, np.asarray(postings.value, dtype=np.float64) ** 2, np.add)


def tokens_of(postings: Postings) -> Int[np.ndarray, " example"]:
    """The number of encoded tokens of every example."""
    return np.bincount(np.asarray(postings.example), minlength=postings.n_examples)


def _reduced(postings: Postings, value: Float[np.ndarray, " entry"], how: np.ufunc) -> csc_array:
    """The values of each list within each example, brought to one."""
    owner = np.repeat(np.arange(len(postings.poles)), np.diff(np.asarray(postings.offsets)))
    example = np.asarray(postings.example)[np.asarray(postings.token)]
    shape = (postings.n_examples, len(postings.poles))
    if not len(value):
        return csc_array(shape, dtype=value.dtype)
    # Tokens ascend within a list, and examples with them: runs of one list and example lie together.
    first = np.flatnonzero(np.r_[True, (owner[1:] != owner[:-1]) | (example[1:] != example[:-1])])
    return csc_array((how.reduceat(value, first), (example[first], owner[first])), shape=shape)


def activations(
    source: TokenSource, postings: Postings, rows: np.ndarray, pool: Pool
) -> Float[np.ndarray, "row width"]:
    """The activations of each example, pooled over the tokens that its side of the split keeps; NaN where it has none.
    Streamed.
    """
    place = np.full(postings.n_examples, -1)
    place[rows] = np.arange(len(rows))
    width = source.hook.own_width  # columns are none of the model's
    out = np.full((len(rows), width), 0.0 if pool == "mean" else -np.inf)
    counts = np.zeros(len(rows), np.int64)
    for side in np.unique(postings.split[rows]):
        wanted = (place >= 0) & (postings.split == side)
        for batch in source.sequential(postings.manifest.keep_on(int(side)), wanted, 8192):
            at, values = place[batch.example.numpy()], batch.values[:, :width].detach().cpu().numpy()
            if not len(at):
                continue
            counts += np.bincount(at, minlength=len(rows))
            first = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])
            if pool == "mean":
                np.add.at(out, at[first], np.add.reduceat(values, first, axis=0, dtype=np.float64))
            else:
                np.maximum.at(out, at[first], np.maximum.reduceat(values, first, axis=0))
    if pool == "mean":
        out /= np.maximum(counts, 1)[:, None]
    out[counts == 0] = np.nan
    return out.astype(np.float32)
