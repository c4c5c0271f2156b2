"""What content tokens say: latents' largest values by example off the posting lists, and activations by whole call."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.sparse import csr_array
from torch import Tensor

from omnisae.errors import ConfigError
from omnisae.postings.postings import Postings
from omnisae.store.source import TokenSource
from omnisae.tokens.filter import TokenFilter
from omnisae_diffusion.selection.means import TIME

Call = tuple[Float[Tensor, "token width"], Int64[Tensor, " token"], int, int]
"""Content tokens of one example, the call (place from 0) of each, the number of calls, and the example."""


def maxima(postings: Postings) -> csr_array:
    """Of every example and latent the largest value over its content tokens, as `pool.token_max`: example × latent.

    Raises ConfigError where codes are signed: their magnitudes are no strengths of one concept.
    """
    if postings.poles.signed:
        raise ConfigError(
            f"the codes at {postings.hook.name!r} are signed, and selections from prompts compare strengths",
            "train an autoencoder whose codes are not negative (core.topk, core.batchtopk, core.jumprelu, core.relu)",
        )
    token = np.asarray(postings.token)
    latent = np.repeat(np.arange(postings.latents), np.diff(np.asarray(postings.offsets)))
    value = np.asarray(postings.value)
    counts = (np.asarray(postings.role)[token] == 0) & (value > 0)
    where = np.asarray(postings.example, dtype=np.int64)[token[counts]] * postings.latents + latent[counts]
    order = np.argsort(where, kind="stable")
    where, value = where[order], value[counts][order]
    shape = (postings.n_examples, postings.latents)
    if not len(where):
        return csr_array(shape, dtype=np.float32)
    first = np.flatnonzero(np.r_[True, where[1:] != where[:-1]])
    return csr_array((np.maximum.reduceat(value, first), np.divmod(where[first], postings.latents)), shape=shape)


def calls(source: TokenSource, keep: TokenFilter, examples: Bool[np.ndarray, " example"]) -> Iterator[Call]:
    """Example by example its content tokens, and to which call of the hooked module each belongs: its step where the
    hook point lies along time, else all to one. A classifier that acts while pictures are made sees a call at a time.
    """
    axes, held = source.hook.axes, None
    place = axes.index(TIME) if TIME in axes else None
    for batch in source.sequential(keep, examples):
        content = batch.role == 0
        values, example = batch.values[content].float(), batch.example[content].long()
        step = torch.zeros_like(example) if place is None else batch.coords[content, place].long()
        if held is not None:
            values, example, step = (
                torch.cat([old, new]) for old, new in zip(held, (values, example, step), strict=True)
            )
        if not len(example):
            continue
        last = example == example[-1]  # it may go on in the next batch
        for one in example[~last].unique(sorted=True):
            yield _call(values[example == one], step[example == one], int(one))
        held = (values[last], example[last], step[last])
    if held is not None and len(held[0]):
        yield _call(held[0], held[2], int(held[1][0]))


def _call(values: Tensor, step: Tensor, example: int) -> Call:
    told, place = torch.unique(step, return_inverse=True)
    return values, place, len(told), example
