"""BatchTopK: the batch's tokens share k activations each; a threshold learnt in training stands in at inference."""

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders.activation import SparseActivation
from omnisae.autoencoders.sparse import Picked, Preactivations, ascending

MARGIN = 4
"""A token brings this many times k candidates; tokens that need more are looked at again in full."""
HORIZON = 100
"""Steps over which the threshold is averaged."""


class BatchTopK(SparseActivation):
    """The batch · k largest positive pre-activations of a batch fire (Bussmann et al. 2024, "BatchTopK Sparse
    Autoencoders", section 3).

    At inference a latent fires where its pre-activation exceeds `threshold`, so that a token's code depends on the
    token alone. The threshold is a running mean of the smallest positive activation kept in each training batch: the
    plain mean of the first steps, then an exponential one over about a hundred steps.
    """

    revives = True
    threshold: Tensor
    smallest: Tensor
    updates: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("smallest", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

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
        keys, values = _by_rows(pre, self.k) if pre.device.type == "cpu" else _by_merging(pre, self.k)
        keys, order = ascending(keys, pre.tokens * pre.latents)
        values = values[order]
        self._observe(values)
        starts = torch.arange(pre.tokens + 1, device=pre.device) * pre.latents
        return Picked(torch.searchsorted(keys, starts), keys % pre.latents, values)

    def initialise(self, pre: Float[Tensor, "token latent"], scale: float) -> None:
        kept = pre.reshape(-1).topk(pre.shape[0] * self.k, sorted=False).values
        self.threshold.copy_(kept.min().clamp(min=0))

    @torch.no_grad()
    def after_step(self) -> None:
        smallest = self.smallest.clone()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(smallest)
            smallest /= dist.get_world_size()
        self.updates += 1
        rate = 1 / self.updates.clamp(max=HORIZON)
        # The first update replaces what `initialise` guessed.
        self.threshold += (smallest - self.threshold) * rate

    def _observe(self, kept: Tensor) -> None:
        if self.training:
            smallest = torch.where(kept > 0, kept, torch.inf).min()
            self.smallest.copy_(torch.where(smallest.isfinite(), smallest, 0.0))


def _by_rows(pre: Preactivations, k: int) -> tuple[Int[Tensor, " entry"], Float[Tensor, " entry"]]:
    """The batch · k largest, as keys token · latents + latent: from each row's own largest, then whatever these
    missed.
    """
    margin = min(MARGIN * k, pre.latents)
    parts = []
    for start, chunk in pre:
        values, latents = chunk.topk(margin, dim=1, sorted=False)
        tokens = torch.arange(start, start + chunk.shape[0], device=pre.device)
        parts.append((tokens[:, None] * pre.latents + latents, values))
    keys, values = (torch.cat(part) for part in zip(*parts, strict=True))
    smallest = values.min(dim=1).values
    keys, values = keys.reshape(-1), values.reshape(-1)
    threshold = values.topk(pre.tokens * k, sorted=False).values.min()
    # A row whose every candidate stands above the threshold may have more to give; rare, so looked at again in full.
    cut = ((smallest >= threshold) & (smallest > 0)).nonzero()[:, 0] if margin < pre.latents else keys[:0]
    if len(cut):
        # A product of another shape may differ in its last bits: what was counted before must not fall out now.
        slack = 1e-4 * values.max()
        keep = ~torch.isin(keys // pre.latents, cut)
        keys, values = keys[keep], values[keep]
        for rows in torch.split(cut, pre.chunk):
            full = pre.rows(rows)
            chosen = (full >= threshold - slack).nonzero(as_tuple=True)
            keys = torch.cat([keys, rows[chosen[0]] * pre.latents + chosen[1]])
            values = torch.cat([values, full[chosen]])
    values, order = values.topk(pre.tokens * k, sorted=False)
    return keys[order], values


def _by_merging(pre: Preactivations, k: int) -> tuple[Int[Tensor, " entry"], Float[Tensor, " entry"]]:
    """The same, without a decision that waits for the device: the best so far compete with each chunk in turn."""
    keys = torch.zeros(0, dtype=torch.int64, device=pre.device)
    values = torch.zeros(0, dtype=pre.centred.dtype, device=pre.device)
    for start, chunk in pre:
        flat = chunk.reshape(-1)
        keys = torch.cat([keys, torch.arange(flat.shape[0], device=pre.device) + start * pre.latents])
        values = torch.cat([values, flat.to(values.dtype)])
        values, order = values.topk(min(pre.tokens * k, len(values)), sorted=False)
        keys = keys[order]
    return keys, values
