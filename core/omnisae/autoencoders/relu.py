"""ReLU: every latent with a positive pre-activation fires. Sparsity comes from a penalty such as `core.l1`."""

import torch
from jaxtyping import Float
from torch import Tensor

from omnisae.autoencoders.activation import Activation
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.preactivations import Preactivations


class ReLU(Activation):
    """z = max(pre, 0) (Bricken et al. 2023, "Towards Monosemanticity")."""

    divisible = True

    def forward(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        return torch.relu(pre)

    def infer(self, pre: Float[Tensor, "token latent"]) -> Float[Tensor, "token latent"]:
        return torch.relu(pre)

    def find(self, pre: Preactivations) -> Picked:
        return pre.above(pre.bias.new_zeros(()), pre.latents // 8)

    def rule(self) -> str:
        return "fires where the pre-activation is positive"
