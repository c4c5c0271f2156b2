"""The largest value of each latent within a prompt."""

import numpy as np
import torch
from jaxtyping import Bool, Int
from scipy.sparse import csr_array
from torch import Tensor

from omnisae.autoencoders.codes import Codes


def token_max(
    codes: Codes, prompt: Int[Tensor, " token"], prompts: int, keep: Bool[Tensor, " token"] | None = None
) -> csr_array:
    """Of every prompt and latent the largest value over its tokens, prompt × latent; silent latents (0) stand nowhere.

    `prompt` is the prompt of every token, below `prompts`; `keep` marks the tokens that count: not those at the
    beginning of the sequence for ItD, no padding for SAEdit. Negative values count as silent.
    """
    tokens = codes.tokens
    counts = codes.values > 0
    if keep is not None:
        counts = counts & keep.to(counts.device)[tokens]
    where = (prompt.to(tokens.device).long()[tokens] * codes.width + codes.latents)[counts].cpu().numpy()
    values = codes.values[counts].detach().to(torch.float32).cpu().numpy()
    order = np.argsort(where, kind="stable")
    where, values = where[order], values[order]
    if not len(where):
        return csr_array((prompts, codes.width), dtype=np.float32)
    first = np.flatnonzero(np.r_[True, where[1:] != where[:-1]])
    places = np.divmod(where[first], codes.width)
    return csr_array((np.maximum.reduceat(values, first), places), shape=(prompts, codes.width))
