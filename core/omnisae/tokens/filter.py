"""Token filters: which tokens a stage keeps."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from omnisae.tokens.layout import CONTENT

if TYPE_CHECKING:
    from torch import Tensor


class TokenFilter(BaseModel):
    """Keep tokens of these roles, and of those a fixed random share.

    The share is decided by a hash of the seed, the example, the role and the coordinates, so that it does not depend on
    batches. Special tokens of one role and example that share all coordinates are kept or left out together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: tuple[str, ...] = Field(
        default=(CONTENT,), description="roles of the tokens kept: 'content', or a special token's role"
    )
    fraction: float = Field(
        default=1.0, gt=0.0, le=1.0, description="share of those tokens that is kept, chosen by a hash"
    )
    seed: int = Field(default=0, description="another seed keeps other tokens")

    def keep(self, example: "Tensor", coords: "Tensor", role: "Tensor", roles: tuple[str, ...]) -> "Tensor":
        """A mask over tokens (bool, shape `token`). `roles` are the layout's, which `role` indexes."""
        import torch

        wanted = torch.tensor([name in self.roles for name in roles], dtype=torch.bool, device=role.device)
        mask = wanted[role.long()]
        return mask & _chosen(example, coords, role, self.seed, self.fraction) if self.fraction < 1.0 else mask


class TokenFilters(BaseModel):
    """The filters of the stages that may differ in the tokens they use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: TokenFilter = Field(default=TokenFilter(), description="tokens that the autoencoder learns from")
    select: TokenFilter = Field(default=TokenFilter(), description="tokens of select examples: they choose")
    evaluate: TokenFilter = Field(default=TokenFilter(), description="tokens of test examples: they judge")
    edit: TokenFilter = Field(default=TokenFilter(), description="tokens that an edit changes")


def _chosen(example: "Tensor", coords: "Tensor", role: "Tensor", seed: int, fraction: float) -> "Tensor":
    import torch

    start = _mix(torch.tensor(seed, dtype=torch.int64, device=example.device) + 0x1E3779B1)
    mixed = _mix(_mix(example.to(torch.int64) ^ start) + role.to(torch.int64) * 0x3C6EF372)
    for axis in range(coords.shape[1]):
        mixed = _mix(mixed ^ (coords[:, axis].to(torch.int64) + 0x7F4A7C15 * (axis + 1)))
    return (mixed & 0xFFFFFF).to(torch.float64) / 0x1000000 < fraction


def _mix(x: "Tensor") -> "Tensor":
    """One round of a 31-bit integer hash: enough to spread neighbouring coordinates over the unit interval."""
    x = x & 0x7FFFFFFF
    x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0x7FFFFFFF
    x = ((x ^ (x >> 15)) * 0x2C1B3C6D) & 0x7FFFFFFF
    return x ^ (x >> 16)
