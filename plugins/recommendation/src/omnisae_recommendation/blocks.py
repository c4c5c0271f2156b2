"""One block of self-attention, in the three orders in which SASRec's parts are found."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Order = Literal["query", "first", "last"]
EPS = 1e-8
"""What SASRec's layer norms add to the variance."""


class Block(nn.Module):
    """Self-attention and a feed-forward of the same width.

    Order `first` (norms before each part): x + A(n(x)), then x + F(n(x)). `last` (after them): n(x + A(x)), then
    n(x + F(x)).
    `query` (Kang & McAuley 2018 as the first PyTorch versions have it): n(x) asks and is added, x answers:
    n(x) + A(n(x), x, x), then n(x) + F(n(x)), with empty places set to zero.
    """

    def __init__(self, width: int, heads: int, dropout: float, order: Order, inner: int | None = None) -> None:
        super().__init__()
        self.order: Order = order
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.attention_norm = nn.LayerNorm(width, eps=EPS)
        self.forward_norm = nn.LayerNorm(width, eps=EPS)
        self.widen = nn.Linear(width, inner or width)
        self.narrow = nn.Linear(inner or width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "example position d"],
        later: Bool[Tensor, "position position"] | None = None,
        empty: Bool[Tensor, "example position"] | None = None,
    ) -> Float[Tensor, "example position d"]:
        """`later` are pairs that may not be attended to, `empty` places without an event: they are set to zero in the
        order `query`. Where `later` is None all places but the empty ones are attended to.
        """
        if self.order == "query":
            asked = self.attention_norm(x)
            x = asked + self._attend(asked, x, later, empty)
            x = self.forward_norm(x)
            x = x + self._feed(x)
            return x if empty is None else x * ~empty[..., None]
        if self.order == "first":
            normed = self.attention_norm(x)
            x = x + self._attend(normed, normed, later, empty)
            return x + self._feed(self.forward_norm(x))
        x = self.attention_norm(x + self._attend(x, x, later, empty))
        return self.forward_norm(x + self._feed(x))  # type: ignore[no-any-return]

    def _attend(
        self, asks: Tensor, answers: Tensor, later: Bool[Tensor, "position position"] | None, empty: Tensor | None
    ) -> Tensor:
        passed_over = empty if later is None else None
        return self.attention(  # type: ignore[no-any-return]
            asks, answers, answers, attn_mask=later, key_padding_mask=passed_over, need_weights=False
        )[0]  # fmt: skip

    def _feed(self, x: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.dropout(torch.relu(self.widen(x)))))  # type: ignore[no-any-return]


def later(length: int, device: torch.device) -> Bool[Tensor, "position position"]:
    """The pairs in which the second place comes after the first."""
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(1)
