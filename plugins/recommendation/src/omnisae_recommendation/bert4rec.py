"""BERT4Rec: attention both ways, and a hidden item to be guessed (Sun et al. 2019)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnisae_recommendation.blocks import EPS, Block


class Bert4Rec(nn.Module):
    """Items and places embedded, `blocks` that look both ways, a last layer norm (`final`).

    The item that comes next is asked for by a mask behind the last event (item number `items` + 1). Scores are products
    with the items' embeddings plus a bias an item. Hook points: `embedded`, `blocks.0` …, `final`.
    """

    def __init__(self, items: int, length: int, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.mask = items + 1
        self.item_emb = nn.Embedding(items + 2, width, padding_idx=0)
        self.pos_emb = nn.Embedding(length + 1, width)
        self.dropout, self.embedded = nn.Dropout(dropout), nn.Identity()
        self.blocks = nn.ModuleList(Block(width, heads, dropout, "last", 4 * width) for _ in range(layers))
        self.final = nn.LayerNorm(width, eps=EPS)
        self.bias = nn.Parameter(torch.zeros(items))
        for table in (self.item_emb, self.pos_emb):
            nn.init.normal_(table.weight, std=0.05)
        with torch.no_grad():
            self.item_emb.weight[0].zero_()

    def forward(self, items: Int[Tensor, "example position+1"]) -> Float[Tensor, "example position+1 d"]:
        """The state at every event and mask."""
        steps = torch.arange(items.shape[1], device=items.device)
        x = self.embedded(self.dropout(self.item_emb(items) + self.pos_emb(steps)))
        empty = items == 0
        for block in self.blocks:
            x = block(x, None, empty)
        return self.final(x)  # type: ignore[no-any-return]

    def scores(self, states: Float[Tensor, "example position+1 d"]) -> Float[Tensor, "example item"]:
        """Of every item from number 1 on, to stand where the last mask is."""
        return self.scored(states[:, -1])

    def scored(self, states: Float[Tensor, "... d"]) -> Float[Tensor, "... item"]:
        """Scores of all items from number 1 on for single states."""
        return states @ self.item_emb.weight[1:-1].T + self.bias
