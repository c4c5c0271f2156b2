"""Lists of recommended items, and what is measured of them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from omnisae.extract.loading import batches
from omnisae_recommendation.recommender import Recommender

Edit = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Lists:
    """For each row of the dataset asked for: the `top` items by number, the best first, and the rank of the target
    among all items that may be recommended (from 0; −1 where there is no target)."""

    rows: Int[np.ndarray, " example"]
    top: Int[np.ndarray, "example rank"]
    rank: Int[np.ndarray, " example"]


def recommend(
    recommender: Recommender, rows: Sequence[int], edits: Sequence[Edit], k: int, *, seen: bool
) -> list[Lists]:
    """The `k` best items of every row under each edit. Items of the history are left out unless `seen`."""
    found: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in edits]
    order: list[int] = []
    for read, inputs in batches(recommender.sessions, recommender, [int(row) for row in rows], 0):
        order += read
        for edit, out in zip(edits, found, strict=True):
            with torch.inference_mode(), edit():
                scores = recommender.scores(inputs).float().cpu()
            out.append(_ranked(scores, recommender, read, inputs[-1], k, seen))
    at = np.array(order, dtype=np.int64)
    return [Lists(at, *(np.concatenate(part) for part in zip(*out, strict=True))) for out in found]


def _ranked(
    scores: torch.Tensor, recommender: Recommender, rows: Sequence[int], targets: Any, k: int, seen: bool
) -> tuple[np.ndarray, np.ndarray]:
    scores = scores.clone()
    target = torch.as_tensor(targets).long()
    own = scores.gather(1, (target - 1).clamp(min=0)[:, None])
    if not seen:
        for i, row in enumerate(rows):
            scores[i, torch.as_tensor(recommender.sessions.history(row)) - 1] = -torch.inf
    # Among equals the target stands in the middle, so that a model that tells nothing apart is not praised.
    others = scores.scatter(1, (target - 1).clamp(min=0)[:, None], -torch.inf)
    rank = (others > own).sum(dim=1) + (others == own).sum(dim=1) // 2
    top = scores.topk(min(k, scores.shape[1]), dim=1).indices + 1
    return top.numpy(), torch.where(target > 0, rank, -1).numpy()


def hits(rank: Int[np.ndarray, " example"], k: int) -> Float[np.ndarray, " example"]:
    """HR@k of each example: 1 where the target is among the k best, NaN without a target."""
    return np.where(rank < 0, np.nan, (rank < k).astype(np.float64))


def gains(rank: Int[np.ndarray, " example"], k: int) -> Float[np.ndarray, " example"]:
    """NDCG@k of each example, with its one target: 1 / log2(rank + 2) within the k best; NaN without a target."""
    return np.where(rank < 0, np.nan, np.where(rank < k, 1 / np.log2(np.maximum(rank, 0) + 2), 0.0))


def share(top: Int[np.ndarray, "example rank"], has: Bool[np.ndarray, " item"]) -> Float[np.ndarray, " example"]:
    """The share of the recommended items that carry a concept."""
    return np.asarray(has[top - 1].mean(axis=1))


def exposure(top: Int[np.ndarray, "example rank"], has: Bool[np.ndarray, " item"]) -> Float[np.ndarray, " example"]:
    """The same with places weighted by how likely they are looked at: Σ has / log2(rank + 2) over Σ 1 / log2(rank + 2),
    ranks from 0 (the discount of Järvelin & Kekäläinen 2002)."""
    weight = 1 / np.log2(np.arange(top.shape[1]) + 2)
    return np.asarray((has[top - 1] * weight).sum(axis=1) / weight.sum())
