"""What an activation rule keeps of a batch's pre-activations."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Picked:
    """Entries that are kept: token t keeps `latents[offsets[t]:offsets[t + 1]]`, ascending.

    `values` are their pre-activations. Entries whose value the rule turns to zero are allowed: they pad the arrays to a
    size known beforehand, so that the device need not be waited for.
    """

    offsets: Int[Tensor, " token+1"]
    latents: Int[Tensor, " entry"]
    values: Float[Tensor, " entry"]

    @property
    def entries(self) -> int:
        return int(self.latents.shape[0])

    @staticmethod
    def none() -> "Picked":
        """No entries of no tokens."""
        nothing = torch.zeros(0, dtype=torch.int32)
        return Picked(nothing.new_zeros(1), nothing, torch.zeros(0))

    @staticmethod
    def joined(parts: "Sequence[Picked]") -> "Picked":
        """The entries of several stretches of tokens, one after the other."""
        if len(parts) == 1:
            return parts[0]
        counts = torch.cat([part.offsets.diff() for part in parts])
        return Picked(
            ends(counts), torch.cat([part.latents for part in parts]), torch.cat([part.values for part in parts])
        )

    def largest(self, count: int) -> "Picked":
        """The `count` entries with the largest values; of equals the first."""
        if self.entries <= count:
            return self
        least = self.values.kthvalue(self.entries - count + 1).values
        over, equal = self.values > least, self.values == least
        return self.only(over | (equal & (equal.cumsum(0) <= count - over.sum())))

    def only(self, keep: Tensor) -> "Picked":
        """The entries for which `keep` holds."""
        running = F.pad(keep.cumsum(0), (1, 0))
        return Picked(running[self.offsets.long()].to(self.offsets.dtype), self.latents[keep], self.values[keep])


def ends(counts: Int[Tensor, " token"]) -> Int[Tensor, " token+1"]:
    """Where each token's entries begin, and where the last one's end."""
    return F.pad(counts.cumsum(0), (1, 0)).to(counts.dtype)


def packed(
    counts: Int[Tensor, " token"], latents: Int[Tensor, "token room"], values: Float[Tensor, "token room"]
) -> Picked:
    """The first `counts[t]` entries of every row t."""
    room = latents.shape[1]
    if bool((counts == room).all()):
        return Picked(ends(counts), latents.reshape(-1), values.reshape(-1))
    keep = torch.arange(room, dtype=counts.dtype, device=counts.device) < counts[:, None]
    return Picked(ends(counts), latents[keep], values[keep])
