"""Training a recommender in the run: deterministic by its seed, once for the same lessons and settings."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnisae.errors import DatasetError
from omnisae_recommendation.sessions import Sessions

log = logging.getLogger("omnisae")
CHUNK = 1024
"""Tokens whose scores of all items are held at a time."""

Loss = Callable[[nn.Module, Int[Tensor, "example position+1"], torch.Generator], Tensor]
"""The loss of one batch of windows: `length` + 1 events each, zeros before them."""


def windows(sessions: Sessions) -> Int[Tensor, "window position+1"]:
    """What a recommender may learn from, in pieces of `length` + 1 events from the end, zeros before the first.

    Pieces of one event teach nothing and are left out. Raises DatasetError where there is none.
    """
    size = sessions.length + 1
    found = []
    for row in range(len(sessions)):
        lesson = sessions.histories.lesson(row)
        stop = len(lesson)
        while stop > 1:
            piece = lesson[max(stop - size, 0) : stop]
            found.append(np.r_[np.zeros(size - len(piece), dtype=np.int64), piece])
            stop -= sessions.length  # the last event of a piece is the first of the next
    if not found:
        raise DatasetError(
            "no user has two events that a recommender may learn from",
            "give longer histories, or another dataset.holdout",
        )
    return torch.from_numpy(np.stack(found))


def train(
    model: nn.Module, sessions: Sessions, loss: Loss, *, epochs: int, lr: float, batch: int, seed: int, device: str
) -> None:
    """Adam over all windows in an order that the seed decides, with the rate falling to zero over the last third."""
    pieces = windows(sessions)
    order = torch.Generator().manual_seed(seed)
    model.to(device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.98))
    steps = epochs * -(-len(pieces) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, 3 * (1 - step / steps)))
    for epoch in range(epochs):
        total = 0.0
        for part in torch.randperm(len(pieces), generator=order).split(batch):  # type: ignore[no-untyped-call]
            found = loss(model, pieces[part].to(device), order)
            optimiser.zero_grad(set_to_none=True)
            found.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(found.detach()) * len(part)
        log.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, total / len(pieces))
    model.eval()


def next_item(negatives: int | None) -> Loss:
    """The loss of predicting each event from those before it: cross-entropy over all items, or (`negatives` given) the
    binary cross-entropy of the event against so many items at random, as SASRec was published.
    """

    def loss(model: nn.Module, pieces: Int[Tensor, "example position+1"], random: torch.Generator) -> Tensor:
        given, target = pieces[:, :-1], pieces[:, 1:]
        real = (given > 0) & (target > 0)
        states, wanted = model(given)[real], target[real] - 1
        if negatives is None:
            return all_items(model, states, wanted)
        items = model.item_emb.weight[1:]  # type: ignore[union-attr, index]
        drawn = torch.randint(len(items), (len(wanted), negatives), generator=random).to(wanted.device)
        good = (states * items[wanted]).sum(dim=1)
        bad = torch.einsum("td,tnd->tn", states, items[drawn])
        entropy = nn.functional.softplus
        return (entropy(-good) + entropy(bad).mean(dim=1)).mean()

    return loss


def hidden_item(share: float) -> Loss:
    """BERT4Rec's loss: a share of the events hidden at random, and in half of the windows the last one alone, as at
    recommending; cross-entropy over all items where they are hidden.
    """

    def loss(model: nn.Module, pieces: Int[Tensor, "example position+1"], random: torch.Generator) -> Tensor:
        real = pieces > 0
        draw = torch.rand(pieces.shape, generator=random).to(pieces.device) < share
        alone = (torch.rand(len(pieces), generator=random) < 0.5).to(pieces.device)
        draw[:, -1] |= ~(draw & real).any(dim=1)
        draw[alone] = False
        draw[alone, -1] = True
        hide = draw & real
        states = model(torch.where(hide, model.mask, pieces))[hide]  # type: ignore[arg-type]
        return all_items(model, states, pieces[hide] - 1)

    return loss


def all_items(model: Any, states: Float[Tensor, "token d"], wanted: Int[Tensor, " token"]) -> Tensor:
    """Mean cross-entropy over all items, a chunk of tokens at a time."""
    parts = zip(states.split(CHUNK), wanted.split(CHUNK), strict=True)  # type: ignore[no-untyped-call]
    total = states.new_zeros(())
    for part, items in parts:
        total = total + nn.functional.cross_entropy(model.scored(part), items, reduction="sum")
    return total / len(wanted)
