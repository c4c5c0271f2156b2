"""The archetypal decoder: every row is a mixture of points of the data, and stays near it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnisae.autoencoders.dictionary import Dictionary
from omnisae.autoencoders.points import Choice, points_of
from omnisae.autoencoders.precision import full_fp32

OWN = 0.8
"""Share of its own point in the mixture from which a latent starts. The rest is another point's."""
LEAST = 1e-12
"""Sums and norms below this are divided by it."""


class Archetypal(Dictionary):
    """D = (W C + Λ) eᵐ, rows of W non-negative with sum one, rows of Λ at most δ long (Fel et al. 2025, "Archetypal
    SAE: Adaptive and Stable Dictionary Learning for Concept Extraction in Large Vision Models", equation 4).

    C are points of the training sample: normalised activations less the decoder's first bias, centroids or rows. They
    do not depend on the seed, and do not learn. W learns as relu(W) over its rows' sums, projected after every step, so
    that a point that has left a mixture may come back. m is one number for all rows, and starts where their mean square
    is one; where rows are brought to norm one anyway (`unit_norm`), it would be lost, and there is none: rows are then
    the directions of mixtures.
    """

    divisible = True
    by_latent = ("weights", "relaxation")
    points: Tensor

    def __init__(self, latents: int, width: int, points: int, choose: Choice, delta: float, unit_norm: bool) -> None:
        super().__init__()
        self.latents, self.choose, self.delta = latents, choose, delta
        self.weights = nn.Parameter(torch.full((latents, points), 1 / points))
        self.relaxation = nn.Parameter(torch.zeros(latents, width)) if delta else None
        self.multiplier = None if unit_norm else nn.Parameter(torch.zeros(()))
        self.register_buffer("points", torch.zeros(points, width))

    def forward(self) -> Float[Tensor, "latent width"]:
        # The sum is one already; dividing by it takes from the gradient what would only change it.
        mixture = self.weights / self.weights.sum(1, keepdim=True)
        with full_fp32(mixture.device):
            rows = mixture @ self.points
        if self.relaxation is not None:
            rows = rows + self.relaxation
        if self.multiplier is not None:
            rows = rows * self.shard.over_latents.common(self.multiplier).exp()
        return rows

    @torch.no_grad()
    def start(self, centred: Float[Tensor, "token width"], seed: int, like: "Archetypal | None") -> None:
        """Raises ConfigError where the sample has fewer tokens than there should be points."""
        count = len(self.points)
        self.points.copy_(points_of(centred, count, self.choose) if like is None else like.points)
        held = self.shard.held(self.latents)
        own, other, share = (drawn[held].to(self.weights.device) for drawn in _drawn(self.latents, count, seed))
        share = share.to(self.weights)[:, None]
        self.weights.zero_().scatter_(1, own[:, None], share).scatter_(1, other[:, None], 1 - share)
        if self.relaxation is not None:
            self.relaxation.zero_()
        if self.multiplier is not None:
            self.multiplier.zero_()
            square = self.shard.over_latents.summed(self().square().sum()) / self.latents
            self.multiplier.copy_(-square.sqrt().clamp(min=LEAST).log())

    @torch.no_grad()
    def after_step(self) -> None:
        """The relu and the sum of every row of W, and the length of every row of Λ.

        A row that nothing is left of (a step has taken all of its points away) starts again from all points alike.
        """
        self.weights.relu_()
        sums = self.weights.sum(1, keepdim=True)
        even = 1 / self.weights.shape[1]
        self.weights.copy_(torch.where(sums > LEAST, self.weights / sums.clamp(min=LEAST), even))
        if self.relaxation is not None:
            norms = self.relaxation.norm(dim=1, keepdim=True)
            self.relaxation.mul_((self.delta / norms.clamp(min=LEAST)).clamp(max=1.0))


def _drawn(
    latents: int, points: int, seed: int
) -> tuple[Int[Tensor, " latent"], Int[Tensor, " latent"], Float[Tensor, " latent"]]:
    """Of every latent, the point it starts at, another one beside it, and the first one's share.

    No point is drawn again before all have been, and no two latents start alike: latents that did would learn alike.
    Those with the same point have different ones beside it; where points run out, the shares differ.
    """
    # Salted, as other draws of an autoencoder are.
    generator = torch.Generator().manual_seed(seed + 0xA2C_4E7)
    rounds = -(-latents // points)
    own = torch.cat([torch.randperm(points, generator=generator) for _ in range(rounds)])[:latents]
    apart = 1 + torch.randperm(points - 1, generator=generator)
    turn = torch.arange(latents) // points
    return own, (own + apart[turn % (points - 1)]) % points, OWN ** (1 + turn // (points - 1)).double()
