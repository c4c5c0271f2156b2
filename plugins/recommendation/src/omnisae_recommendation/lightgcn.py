"""LightGCN: vectors of users and items, averaged over their neighbours again and again (He et al. 2020)."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnisae_recommendation.sessions import Sessions


class UserVectors(nn.Module):
    """A trained LightGCN at rest: every user's vector after each round of averaging (`rounds.0` …), and their mean
    (`final`), whose product with an item's vector is the item's score. Hook points: those names.
    """

    def __init__(self, users: int, items: int, width: int, rounds: int) -> None:
        super().__init__()
        self.rounds = nn.ModuleList(nn.Embedding(users, width) for _ in range(rounds + 1))
        self.final = nn.Identity()
        self.items = nn.Parameter(torch.zeros(items, width))

    def forward(self, users: Int[Tensor, " example"]) -> Float[Tensor, "example d"]:
        """The vectors of users by number."""
        return self.final(torch.stack([table(users) for table in self.rounds]).mean(dim=0))  # type: ignore[no-any-return]

    def scores(self, states: Float[Tensor, "example d"]) -> Float[Tensor, "example item"]:
        """Of every item from number 1 on."""
        return states @ self.items.T


def averaging(sessions: Sessions) -> Tensor:
    """The matrix of one round of averaging over users and items: who took what, normalised by the square roots of both
    ends' degrees. Sparse, (user + item) × (user + item)."""
    histories = sessions.histories
    users, items = len(sessions), len(histories.rows)
    lessons = [np.unique(histories.lesson(row)) for row in range(users)]
    user = np.repeat(np.arange(users), [len(one) for one in lessons])
    item = np.concatenate(lessons) - 1 if lessons else np.zeros(0, dtype=np.int64)
    degree = np.r_[np.bincount(user, minlength=users), np.bincount(item, minlength=items)].astype(np.float64)
    weight = 1 / np.sqrt(degree[user] * degree[users + item])
    at = np.concatenate([np.stack([user, users + item]), np.stack([users + item, user])], axis=1)
    values = torch.from_numpy(np.r_[weight, weight]).float()
    shape = (users + items, users + items)
    return torch.sparse_coo_tensor(torch.from_numpy(at), values, shape, check_invariants=False).coalesce()


def train_vectors(
    sessions: Sessions, *, width: int, rounds: int, epochs: int, lr: float, batch: int, decay: float, seed: int
) -> UserVectors:
    """Train by BPR (Rendle et al. 2009): for every event of a lesson an item at random that is not among the user's
    should score lower. `decay` is the weight of the squared norms of the vectors that take part.
    """
    histories = sessions.histories
    users, items = len(sessions), len(histories.rows)
    graph = averaging(sessions)
    generator = torch.Generator().manual_seed(seed)
    table = nn.Parameter(torch.randn(users + items, width, generator=generator) * 0.1)
    lessons = [histories.lesson(row) for row in range(users)]
    user = torch.from_numpy(np.repeat(np.arange(users), [len(one) for one in lessons]))
    item = torch.from_numpy(np.concatenate(lessons)) - 1
    taken = torch.zeros(users, items, dtype=torch.bool)
    taken[user, item] = True
    optimiser = torch.optim.Adam([table], lr=lr)
    for _ in range(epochs):
        for part in torch.randperm(len(user), generator=generator).split(batch):  # type: ignore[no-untyped-call]
            u, good = user[part], item[part]
            bad = torch.randint(items, (len(part),), generator=generator)
            wrong = taken[u, bad]
            while wrong.any():  # an item of the user's own is no counterexample
                bad[wrong] = torch.randint(items, (int(wrong.sum()),), generator=generator)
                wrong = taken[u, bad] & (taken[u].sum(dim=1) < items)
            mean = torch.stack(_rounds(table, graph, rounds)).mean(dim=0)
            gap = (mean[u] * (mean[users + good] - mean[users + bad])).sum(dim=1)
            norms = sum(table[at].square().sum() for at in (u, users + good, users + bad)) / len(part)
            loss = -nn.functional.logsigmoid(gap).mean() + decay * norms
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    found = UserVectors(users, items, width, rounds)
    with torch.no_grad():
        layers = _rounds(table, graph, rounds)
        for module, layer in zip(found.rounds, layers, strict=True):
            module.weight.copy_(layer[:users])  # type: ignore[operator]
        found.items.copy_(torch.stack(layers).mean(dim=0)[users:])
    return found


def _rounds(table: Tensor, graph: Tensor, rounds: int) -> list[Tensor]:
    found = [table]
    for _ in range(rounds):
        found.append(torch.sparse.mm(graph, found[-1]))
    return found
