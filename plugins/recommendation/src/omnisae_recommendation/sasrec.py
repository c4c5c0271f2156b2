"""SASRec: self-attention over the events of a history (Kang & McAuley 2018)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnisae_recommendation.blocks import EPS, Block, Order, later


class SasRec(nn.Module):
    """Items and places embedded, `blocks`, a last layer norm (`final`); an item's score is its embedding's product with
    the state at the last event.

    `places`: the number of rows of the table of places: `length` (step i has row i), or `length` + 1 (row i + 1; row 0,
    zeros, for empty steps). Hook points: `embedded`, `blocks.0` …, `final`.
    """

    def __init__(
        self, items: int, length: int, width: int, layers: int, heads: int, dropout: float, order: Order, places: int
    ) -> None:
        super().__init__()
        self.item_emb = nn.Embedding(items + 1, width, padding_idx=0)
        self.pos_emb = nn.Embedding(places, width, padding_idx=0 if places > length else None)
        self.dropout = nn.Dropout(dropout)
        self.embedded = nn.Identity()
        self.blocks = nn.ModuleList(Block(width, heads, dropout, order) for _ in range(layers))
        self.final = nn.LayerNorm(width, eps=EPS)
        self.order, self.length = order, length
        for table in (self.item_emb, self.pos_emb):
            nn.init.normal_(table.weight, std=0.02)
            with torch.no_grad():
                if table.padding_idx is not None:
                    table.weight[table.padding_idx].zero_()

    def forward(self, items: Int[Tensor, "example position"]) -> Float[Tensor, "example position d"]:
        """The state at every event; 0 stands for no event, and those lie before all others."""
        length = items.shape[1]
        empty = items == 0
        x = self.item_emb(items) * self.item_emb.embedding_dim**0.5
        steps = torch.arange(length, device=items.device).expand_as(items)
        if self.pos_emb.num_embeddings > self.length:
            steps = (steps + 1) * ~empty
        x = self.dropout(x + self.pos_emb(steps))
        if self.order == "query":
            x = x * ~empty[..., None]
        x = self.embedded(x)
        ahead = later(length, items.device)
        for block in self.blocks:
            x = block(x, ahead, empty)
        return self.final(x)  # type: ignore[no-any-return]

    def scores(self, states: Float[Tensor, "example position d"]) -> Float[Tensor, "example item"]:
        """Of every item from number 1 on, to come after the last event."""
        return self.scored(states[:, -1])

    def scored(self, states: Float[Tensor, "... d"]) -> Float[Tensor, "... item"]:
        """Scores of all items from number 1 on for single states."""
        return states @ self.item_emb.weight[1:].T
