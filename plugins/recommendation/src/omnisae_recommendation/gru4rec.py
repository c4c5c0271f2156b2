"""GRU4Rec: a recurrent network over the events (Hidasi et al. 2016; Tan et al. 2016), as RecBole lays it out."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Recurrent(nn.Module):
    """One GRU without biases, so that a state of zeros stays so until the first event."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, hidden, bias=False, batch_first=True)

    def forward(self, x: Float[Tensor, "example position d"]) -> Float[Tensor, "example position hidden"]:
        return self.gru(x)[0]  # type: ignore[no-any-return]


class Gru4Rec(nn.Module):
    """Embedded items, `layers` of GRUs, a linear map back to the width of items (`final`). Hook points: `embedded`,
    `layers.0` …, `final`. Empty steps before the first event leave the state at zero.
    """

    def __init__(self, items: int, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.item_emb = nn.Embedding(items + 1, width, padding_idx=0)
        nn.init.normal_(self.item_emb.weight, std=0.05)
        with torch.no_grad():
            self.item_emb.weight[0].zero_()
        self.dropout, self.embedded = nn.Dropout(dropout), nn.Identity()
        self.layers = nn.ModuleList(Recurrent(hidden if i else width, hidden) for i in range(layers))
        self.final = nn.Linear(hidden, width)

    def forward(self, items: Int[Tensor, "example position"]) -> Float[Tensor, "example position d"]:
        """The state at every event, and that of no event before the first."""
        x = self.embedded(self.dropout(self.item_emb(items)))
        for layer in self.layers:
            x = layer(x)
        return self.final(x)  # type: ignore[no-any-return]

    def scores(self, states: Float[Tensor, "example position d"]) -> Float[Tensor, "example item"]:
        """Of every item from number 1 on, to come after the last event."""
        return self.scored(states[:, -1])

    def scored(self, states: Float[Tensor, "... d"]) -> Float[Tensor, "... item"]:
        """Scores of all items from number 1 on for single states."""
        return states @ self.item_emb.weight[1:].T
