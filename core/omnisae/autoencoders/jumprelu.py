"""JumpReLU: a latent fires where its pre-activation exceeds a threshold of its own, learnt towards a target L0."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.autoencoders.activation import Activation
from omnisae.autoencoders.batchwide import batch_mean


class JumpReLU(Activation):
    """z = pre · H(pre − θ) with one θ > 0 a latent (Rajamanoharan et al. 2024, "Jumping Ahead", equations 9–12).

    Thresholds learn by a straight-through estimator with a rectangle kernel K of width ε:
    ∂z/∂θ = −(θ/ε) K((pre − θ)/ε) and ∂H/∂θ = −(1/ε) K((pre − θ)/ε).
    The rule's own loss is weight · (L0/target − 1)², L0 being the batch's mean: the paper's appendix on training
    towards a desired sparsity, with the mean over the batch inside the square, so that tokens may differ in how many
    latents they need. θ is kept as its logarithm, and ε is `bandwidth` times the root mean squared norm of centred,
    normalised inputs.
    """

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
        return {"l0_target": self.weight * (batch_mean(fires.sum(1).mean()) / self.l0 - 1).square()}

    @torch.no_grad()
    def initialise(self, pre: Float[Tensor, "token latent"], scale: float) -> None:
        """Start all thresholds where the target L0 is met."""
        kept = min(max(round(pre.shape[0] * self.l0), 1), pre.numel())
        start = pre.reshape(-1).topk(kept, sorted=False).values.min().clamp(min=1e-6 * scale)
        self.log_threshold.fill_(math.log(float(start)))
        self.bandwidth.fill_(self.share * scale)

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
