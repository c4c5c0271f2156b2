"""Agreement between two dictionaries."""

import torch
from jaxtyping import Float
from torch import Tensor


def mean_max_cosine(
    mine: Float[Tensor, "latent width"], other: Float[Tensor, "latent2 width"], chunk: int = 4096
) -> float:
    """Mean over the rows of `mine` of the largest cosine with any row of `other`.

    1 where every direction was found again; what two random dictionaries reach depends on width and size, so compare
    like with like. (Sharkey et al. 2022, "mean max cosine similarity".)
    """
    a = torch.nn.functional.normalize(mine.float(), dim=1)
    b = torch.nn.functional.normalize(other.float(), dim=1)
    best = [(part @ b.T).max(dim=1).values for part in torch.split(a, chunk)]
    return float(torch.cat(best).mean())
