"""Codes: the sparse vectors of latents of a batch of tokens."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.ranks import ranks


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes of `token` tokens in compressed rows: token t fires `latents[offsets[t]:offsets[t + 1]]` with `values`.

    Latents are ascending within a token and values never zero. `width` is the number of latents. `context` is what the
    normaliser needs to undo itself per token (None where it needs nothing).
    """

    offsets: Int[Tensor, " token+1"]
    latents: Int[Tensor, " entry"]
    values: Float[Tensor, " entry"]
    width: int
    context: Float[Tensor, "token c"] | None = None

    def __len__(self) -> int:
        return int(self.offsets.shape[0]) - 1

    @property
    def tokens(self) -> Int[Tensor, " entry"]:
        """The token of every entry."""
        counts = self.offsets[1:] - self.offsets[:-1]
        return torch.repeat_interleave(torch.arange(len(self), device=counts.device), counts)

    def dense(self) -> Float[Tensor, "token latent"]:
        """The dense matrix; for tests and small batches only."""
        out = torch.zeros(len(self), self.width, dtype=self.values.dtype, device=self.values.device)
        out[self.tokens, self.latents.long()] = self.values
        return out

    def largest(self, k: int) -> "Codes":
        """The k largest codes of each token, in magnitude; of equals the lowest latent's. What an autoencoder that was
        nested over k reconstructs from, for any of its ks.
        """
        some = Picked(self.offsets, self.latents, self.values)
        kept = some.only(ranks(some, self.values.abs()) < k)
        return replace(self, offsets=kept.offsets, latents=kept.latents, values=kept.values)

    @staticmethod
    def from_dense(matrix: Float[Tensor, "token latent"], context: Tensor | None = None) -> "Codes":
        """The codes of a dense matrix: its non-zero entries."""
        rows, latents = matrix.nonzero(as_tuple=True)
        counts = torch.bincount(rows, minlength=matrix.shape[0])
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return Codes(offsets, latents, matrix[rows, latents], matrix.shape[1], context)
