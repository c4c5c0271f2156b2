"""Agreement between two dictionaries."""

import torch
from jaxtyping import Float
from torch import Tensor


def mean_max_cosine(
    mine: Float[Tensor, "latent width"],
    other: Float[Tensor, "latent2 width"],
    chunk: int = 4096,
    *,
    signed: bool = False,
) -> float:
    """Mean over the rows of `mine` of the largest cosine with any row of `other`; of its magnitude where codes are
    `signed`, since a direction and its opposite are then the same latent.

    1 where every direction was found again; what two random dictionaries reach depends on width and size, so compare
    like with like. (Sharkey et al. 2022, "mean max cosine similarity".)
    """
    a = torch.nn.functional.normalize(mine.float(), dim=1)
    b = torch.nn.functional.normalize(other.float(), dim=1)
    cosines = (part @ b.T for part in torch.split(a, chunk))
    best = [(found.abs() if signed else found).max(dim=1).values for found in cosines]
    return float(torch.cat(best).mean())
