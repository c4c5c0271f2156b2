"""BatchTopK: the batch's tokens share k activations each; a threshold learnt in training stands in at inference."""

import torch
from jaxtyping import Float
from torch import Tensor

from omnisae.autoencoders.activation import SparseActivation
from omnisae.autoencoders.kernels.device import at_hand
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.preactivations import Preactivations

HORIZON = 100
"""Steps over which the threshold is averaged."""
CAUTION = 0.97
"""Share of the last smallest activation above which the batch's largest are looked for first."""


class BatchTopK(SparseActivation):
    """The batch · k largest positive pre-activations of a batch fire (Bussmann et al. 2024, "BatchTopK Sparse
    Autoencoders", section 3).

    At inference a latent fires where its pre-activation exceeds `threshold`, so that a token's code depends on the
    token alone. The threshold is a running mean of the smallest positive activation kept in each training batch: the
    plain mean of the first steps, then an exponential one over about a hundred steps.
    """

    revives = True
    divisible = True
    threshold: Tensor
    smallest: Tensor
    updates: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("smallest", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @property
    def keeps(self) -> int:
        return self.k

    def forward(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        values, place = pre.reshape(-1).topk(pre.shape[0] * self.k, sorted=False)
        self._observe(values.detach())
        return torch.zeros_like(pre).reshape(-1).scatter(0, place, torch.relu(values)).reshape(pre.shape)

    def infer(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        return torch.where(pre > self.threshold, pre, 0.0)

    def rule(self) -> str:
        return (
            f"fires where the pre-activation exceeds {float(self.threshold):.6g} (learnt so that {self.k} fire a token)"
        )

    def pick(self, pre: Preactivations) -> Picked:
        picked = pre.largest(pre.tokens * self.k, self._guess())
        self._observe(picked.values)
        return picked

    def find(self, pre: Preactivations) -> Picked:
        return pre.above(self.threshold, self.k)

    def initialise(self, pre: Preactivations, scale: float) -> None:
        self.threshold.copy_(pre.threshold(pre.tokens * self.k))

    @torch.no_grad()
    def after_step(self) -> None:
        smallest = self.shard.over_tokens.mean(self.smallest)
        self.updates += 1
        rate = 1 / self.updates.clamp(max=HORIZON)
        # The first update replaces what `initialise` guessed.
        self.threshold += (smallest - self.threshold) * rate

    def _guess(self) -> float:
        """A little less than what the last batch's smallest activation was: the running mean lags behind it."""
        if not at_hand(self.smallest):
            return 0.0
        return CAUTION * (float(self.smallest) or float(self.threshold))

    def _observe(self, kept: Tensor) -> None:
        if self.training:
            smallest = (
                torch.where(kept > 0, kept, torch.inf).min() if len(kept) else self.smallest.new_tensor(torch.inf)
            )
            smallest = self.shard.over_latents.least(smallest)
            self.smallest.copy_(torch.where(smallest.isfinite(), smallest, 0.0))
