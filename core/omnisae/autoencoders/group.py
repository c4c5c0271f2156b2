"""Processes that add up what each of them knows. One process alone is a group, too, of which every sum is its own."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor

Fold = Literal["SUM", "MIN", "MAX"]


@dataclass(frozen=True)
class Group:
    """Some of the processes of a training, and this one's `rank` among them. All must call the same in the same order.

    Every process is given the same result, bit for bit. Alone, nothing is copied or computed.
    """

    size: int = 1
    rank: int = 0
    handle: "dist.ProcessGroup | None" = None

    def summed(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """The sum of `x` over the processes, without gradient."""
        return x.detach() if self.size == 1 else self._folded(x.detach(), "SUM")

    def least(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """The smallest of each number over the processes, without gradient."""
        return x.detach() if self.size == 1 else self._folded(x.detach(), "MIN")

    def most(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """The largest of each number over the processes, without gradient."""
        return x.detach() if self.size == 1 else self._folded(x.detach(), "MAX")

    def stacked(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "process ..."]:
        """What every process gave, all of one shape, in the order of their ranks, without gradient."""
        x = x.detach().contiguous()
        if self.size == 1:
            return x[None]
        out = x.new_empty(self.size, *x.shape)
        self._gather(x, out)
        return out

    def total(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The sum of the parts that the processes give, with the gradient of this one's own part."""
        return x if self.size == 1 else _Folded.apply(x, self, 1)

    def mean(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The mean over the processes, with the gradient of this one's own `x`.

        Gradients averaged over the processes afterwards are those of the mean.
        """
        return x if self.size == 1 else _Folded.apply(x, self, self.size)

    def common(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """`x`, which is the same on every process, on its way into what each computes only its part of.

        Its gradient is a part, too; times the number of processes, so that the mean over them is the whole one.
        """
        return x if self.size == 1 else _Common.apply(x, self.size)

    @torch.no_grad()
    def average(self, x: Float[Tensor, "..."]) -> None:
        """Put the mean over the processes in place of `x`, which is contiguous."""
        if self.size > 1:
            self._fold(x, "SUM")
            x /= self.size

    @torch.no_grad()
    def follow(self, x: Shaped[Tensor, "..."]) -> None:
        """Put the first process's `x` in place of this one's, which is contiguous."""
        if self.size > 1:
            dist.broadcast(x, self.place(0), group=self.handle)

    def place(self, rank: int) -> int:
        """The number, among all processes of the training, of one of this group."""
        return rank if self.handle is None else dist.get_global_rank(self.handle, rank)

    def _folded(self, x: Tensor, fold: Fold) -> Tensor:
        out = x.clone(memory_format=torch.contiguous_format)
        self._fold(out, fold)
        return out

    def _fold(self, x: Tensor, fold: Fold) -> None:
        dist.all_reduce(x, getattr(dist.ReduceOp, fold), group=self.handle)

    def _gather(self, x: Tensor, out: Tensor) -> None:
        dist.all_gather(list(out.unbind(0)), x, group=self.handle)


ALONE = Group()


class _Folded(torch.autograd.Function):
    """The sum over the processes by `parts`; backwards as if this process's own had been taken as it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group, parts: int) -> Tensor:
        return group.summed(x) / parts if parts > 1 else group.summed(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None


class _Common(torch.autograd.Function):
    """The same forwards; times `size` backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int) -> Tensor:
        ctx.size = size
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.size, None
