"""Statistics of the whole batch where several processes each hold a share of it. Alone, they are the batch's own."""

import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


def processes() -> int:
    """How many processes share the batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def summed(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The sum of `x` over the processes, without gradient."""
    x = x.detach()
    if processes() > 1:
        x = x.clone()
        dist.all_reduce(x)
    return x


def batch_mean(share: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The mean over processes of each one's mean, with the gradient of this process's own.

    Averaged over the processes, as DDP does, the gradient of a function of it is that of the whole batch.
    """
    return share + (summed(share) / processes() - share.detach())


def batch_variance(rows: Float[Tensor, "token width"]) -> Float[Tensor, ""]:
    """Σ‖row − mean‖² of the whole batch over the number of processes, without gradient.

    A process's sum of squares divided by it, averaged over the processes, is that of the whole batch.
    """
    if processes() == 1:
        rows = rows.detach()
        return (rows - rows.mean(0)).square().sum()
    count = summed(rows.new_tensor(float(len(rows))))
    centre = summed(rows.sum(0)) / count
    return summed((rows.detach() - centre).square().sum()) / processes()
