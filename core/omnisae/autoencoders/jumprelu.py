"""JumpReLU: a latent fires where its pre-activation exceeds a threshold of its own, learnt towards a target L0."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.autoencoders.activation import SparseActivation
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.preactivations import Preactivations
from omnisae.autoencoders.sparse import Entries, sums_by_latent

DENSE = 0.125
"""Share of pre-activations within reach of their thresholds above which the dense step is the quicker one."""


class JumpReLU(SparseActivation):
    """z = pre · H(pre − θ) with one θ > 0 a latent (Rajamanoharan et al. 2024, "Jumping Ahead", equations 9–12).

    Thresholds learn by a straight-through estimator with a rectangle kernel K of width ε:
    ∂z/∂θ = −(θ/ε) K((pre − θ)/ε) and ∂H/∂θ = −(1/ε) K((pre − θ)/ε).
    The rule's own loss is weight · (L0/target − 1)², L0 being the batch's mean: the paper's appendix on training
    towards a desired sparsity, with the mean over the batch inside the square, so that tokens may differ in how many
    latents they need. θ is kept as its logarithm, and ε is `bandwidth` times the root mean squared norm of centred,
    normalised inputs.

    What fires and what a threshold's kernel reaches are all above θ − ε/2: these entries are picked, and everything
    that has a gradient is among them.
    """

    divisible = True
    by_latent = ("log_threshold",)
    bandwidth: Tensor

    def __init__(self, latents: int, l0: float, weight: float, bandwidth: float) -> None:
        super().__init__()
        self.l0, self.weight, self.share = l0, weight, bandwidth
        self.log_threshold = nn.Parameter(torch.zeros(latents))
        self.register_buffer("bandwidth", torch.tensor(bandwidth))

    @property
    def threshold(self) -> Float[Tensor, " latent"]:
        """θ of every latent, in units of pre-activations."""
        return self.log_threshold.exp()

    def forward(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        out: Tensor = _Jump.apply(pre, self.threshold, self.bandwidth)
        return out

    def infer(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        return torch.where(pre > self.threshold, pre, 0.0)

    def losses(self, pre: Float[Tensor, "token latent"]) -> dict[str, Float[Tensor, ""]]:
        fires: Tensor = _Fires.apply(pre, self.threshold, self.bandwidth)
        return self._aim(fires.sum(1).mean())

    def find(self, pre: Preactivations) -> Picked:
        return pre.above(self.threshold.detach(), round(self.l0))

    def pick(self, pre: Preactivations) -> Picked | None:
        bound = (self.threshold - self.bandwidth / 2).detach()
        some = pre.rows(slice(0, pre.tokens, max(1, pre.tokens // 32)))
        share = float(self.shard.over_latents.mean((some > bound).float().mean())) if pre.tokens else 0.0
        return None if share > DENSE else pre.above(bound, max(1, round(share * pre.latents)))

    def values(self, pre: Float[Tensor, " entry"], entries: Entries) -> Float[Tensor, " entry"]:
        out: Tensor = _JumpEntries.apply(pre, self.threshold, self.bandwidth, entries)
        return out

    def entry_losses(self, pre: Float[Tensor, " entry"], entries: Entries) -> dict[str, Float[Tensor, ""]]:
        fires: Tensor = _FireEntries.apply(pre, self.threshold, self.bandwidth, entries)
        return self._aim(fires / (len(entries.offsets) - 1))

    @torch.no_grad()
    def initialise(self, pre: Preactivations, scale: float) -> None:
        """Start all thresholds where the target L0 is met."""
        start = pre.threshold(max(round(pre.tokens * self.l0), 1)).clamp(min=1e-6 * scale)
        self.log_threshold.fill_(math.log(float(start)))
        self.bandwidth.fill_(self.share * scale)

    def _aim(self, l0: Float[Tensor, ""]) -> dict[str, Float[Tensor, ""]]:
        mean = self.shard.over_tokens.mean(self.shard.over_latents.total(l0))
        return {"l0_target": self.weight * (mean / self.l0 - 1).square()}

    def rule(self) -> str:
        return "fires where the pre-activation exceeds the latent's own threshold"


def _kernel(pre: Tensor, threshold: Tensor, bandwidth: Tensor) -> Tensor:
    """K((pre − θ)/ε)/ε, the rectangle."""
    return ((pre - threshold).abs() < bandwidth / 2).to(pre.dtype) / bandwidth


class _Jump(torch.autograd.Function):
    """pre · H(pre − θ)."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: Tensor) -> Tensor:
        ctx.save_for_backward(pre, threshold, bandwidth)
        return torch.where(pre > threshold, pre, 0.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pre, threshold, bandwidth = ctx.saved_tensors
        to_threshold = -threshold * (gradient * _kernel(pre, threshold, bandwidth)).sum(0)
        return torch.where(pre > threshold, gradient, 0.0), to_threshold, None


class _Fires(torch.autograd.Function):
    """H(pre − θ), whose gradient reaches the threshold alone."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: Tensor) -> Tensor:
        ctx.save_for_backward(pre, threshold, bandwidth)
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pre, threshold, bandwidth = ctx.saved_tensors
        return None, -(gradient * _kernel(pre, threshold, bandwidth)).sum(0), None


class _JumpEntries(torch.autograd.Function):
    """pre · H(pre − θ) of picked entries."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: Tensor, entries: Entries) -> Tensor:
        own = threshold[entries.latents.long()]
        ctx.save_for_backward(pre, threshold, own, bandwidth)
        ctx.entries = entries
        return torch.where(pre > own, pre, 0.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pre, threshold, own, bandwidth = ctx.saved_tensors
        reached = sums_by_latent(gradient * _kernel(pre, own, bandwidth), ctx.entries)
        return torch.where(pre > own, gradient, 0.0), -threshold * reached, None, None


class _FireEntries(torch.autograd.Function):
    """The number of entries with H(pre − θ) = 1; its gradient reaches the thresholds alone."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: Tensor, entries: Entries) -> Tensor:
        own = threshold[entries.latents.long()]
        ctx.save_for_backward(pre, own, bandwidth)
        ctx.entries = entries
        return (pre > own).sum().to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pre, own, bandwidth = ctx.saved_tensors
        return None, -gradient * sums_by_latent(_kernel(pre, own, bandwidth), ctx.entries), None, None
