"""TopK: the k largest positive pre-activations of each token fire."""

import torch
from jaxtyping import Float
from torch import Tensor

from omnisae.autoencoders.activation import SparseActivation
from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.sparse import Picked, Preactivations, ascending


class TopK(SparseActivation):
    """z = ReLU(TopK(pre)) (Gao et al. 2024, "Scaling and evaluating sparse autoencoders", equation 2)."""

    revives = True

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        values, latents = pre.topk(self.k, dim=1)
        return torch.zeros_like(pre).scatter(1, latents, torch.relu(values))

    def infer(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        return self(pre)  # type: ignore[no-any-return]

    def codes(self, pre: Float[Tensor, "token latent"]) -> Codes:
        values, latents = row_top(pre, self.k)
        fires = values > 0
        offsets = torch.nn.functional.pad(fires.sum(1).cumsum(0), (1, 0))
        return Codes(offsets, latents[fires], values[fires], pre.shape[1])

    def pick(self, pre: Preactivations) -> Picked:
        tops = [row_top(chunk, self.k) for _, chunk in pre]
        offsets = torch.arange(pre.tokens + 1, device=pre.device) * self.k
        values, latents = (torch.cat(part).reshape(-1) for part in zip(*tops, strict=True))
        return Picked(offsets, latents, values)

    def rule(self) -> str:
        return f"the {self.k} largest positive pre-activations of each token fire"


def row_top(pre: Float[Tensor, "token latent"], k: int) -> tuple[Float[Tensor, "token k"], Tensor]:
    """The k largest of each row and their columns, columns ascending."""
    values, latents = pre.topk(k, dim=1, sorted=False)
    latents, order = ascending(latents, pre.shape[1])
    return values.gather(1, order), latents
