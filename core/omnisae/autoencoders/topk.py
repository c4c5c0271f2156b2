"""TopK and AbsTopK: the k largest pre-activations of each token fire."""

import torch
from jaxtyping import Float
from torch import Tensor

from omnisae.autoencoders.activation import SparseActivation
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.preactivations import Preactivations


class TopK(SparseActivation):
    """z = ReLU(TopK(pre)) (Gao et al. 2024, "Scaling and evaluating sparse autoencoders", equation 2)."""

    revives = True
    divisible = True

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    @property
    def keeps(self) -> int:
        return self.k

    def forward(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        values, latents = pre.topk(self.k, dim=1)
        return torch.zeros_like(pre).scatter(1, latents, torch.relu(values))

    def infer(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        return self(pre)  # type: ignore[no-any-return]

    def pick(self, pre: Preactivations) -> Picked:
        return pre.top(self.k, signed=self.signed)

    def find(self, pre: Preactivations) -> Picked:
        picked = self.pick(pre)
        return picked.only(picked.values != 0 if self.signed else picked.values > 0)

    def rule(self) -> str:
        return f"the {self.k} largest positive pre-activations of each token fire"


class AbsTopK(TopK):
    """z keeps the k pre-activations of largest magnitude, with their signs: one latent may stand for a concept and its
    opposite (Zhu et al. 2025, "AbsTopK: Rethinking Sparse Autoencoders For Bidirectional Features").
    """

    signed = True

    def forward(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        latents = pre.abs().topk(self.k, dim=1).indices
        return torch.zeros_like(pre).scatter(1, latents, pre.gather(1, latents))

    def rule(self) -> str:
        return f"the {self.k} pre-activations of largest magnitude of each token fire, with their signs"
