"""Activations with a known truth: sparse sums of known directions, more of them than dimensions."""

import torch
from jaxtyping import Float
from torch import Tensor


def planted(
    d: int, directions: int, active: int, n: int, seed: int
) -> tuple[Float[Tensor, "token d"], Float[Tensor, "direction d"]]:
    """`n` tokens of width `d`, each a sum of `active` of the unit `directions` with coefficients between 0.5 and 1.5.

    Returns the tokens and the directions. The same seed gives the same directions for any `n`.
    """
    # Salted: an autoencoder of the same seed must not start from the truth.
    generator = torch.Generator().manual_seed(seed + 0x9_1A17ED)
    truth = torch.nn.functional.normalize(torch.randn(directions, d, generator=generator), dim=1)
    chosen = torch.rand(n, directions, generator=generator).topk(active, dim=1).indices
    coefficients = 0.5 + torch.rand(n, active, generator=generator)
    x = torch.nn.functional.embedding_bag(chosen, truth, per_sample_weights=coefficients, mode="sum")
    return x, truth
