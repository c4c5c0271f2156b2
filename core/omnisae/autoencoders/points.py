"""Points that stand for a sample: rows of it, or the centroids of its clusters."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders.kernels.plain import weighted_rows
from omnisae.autoencoders.precision import full_fp32
from omnisae.errors import ConfigError

Choice = Literal["kmeans", "rows"]
ROUNDS = 20
"""Rounds of k-means, at most."""
CHUNK = 2**22
"""Distances held at a time."""


def points_of(rows: Float[Tensor, "row width"], count: int, choose: Choice) -> Float[Tensor, "point width"]:
    """`count` points of the rows, the same whenever the rows are.

    Raises ConfigError where there are fewer rows than points.
    """
    if len(rows) < count:
        raise ConfigError(
            f"autoencoder.decoder.points: {count} points cannot be taken from a sample of {len(rows)} tokens",
            f"lower points to {len(rows)} or less, or train on more examples",
        )
    drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0x9017_75))[:count].to(rows.device)
    return rows[drawn] if choose == "rows" else centroids(rows, rows[drawn])


def centroids(rows: Float[Tensor, "row width"], first: Float[Tensor, "point width"]) -> Float[Tensor, "point width"]:
    """The centroids of k-means clusters by Lloyd's iteration (Lloyd 1982), from the `first` ones.

    A cluster that has lost all of its rows goes on from the row furthest from its own centroid (the next such cluster
    from the next furthest).
    """
    points = first.clone()
    nearest: Tensor | None = None
    for _ in range(ROUNDS):
        found, squares = _nearest(rows, points)
        if nearest is not None and bool((found == nearest).all()):
            break
        nearest = found
        # Sums over runs of rows, not by atomics: the same on every run.
        order = nearest.argsort(stable=True)
        counts = torch.bincount(nearest, minlength=len(points))
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        sums = weighted_rows(rows, order, offsets, rows.new_ones(len(rows)))
        points = sums / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero()[:, 0]
        points[empty] = rows[squares.argsort(descending=True, stable=True)[: len(empty)]]
    return points


def _nearest(
    rows: Float[Tensor, "row width"], points: Float[Tensor, "point width"]
) -> tuple[Int[Tensor, " row"], Float[Tensor, " row"]]:
    """Of every row, the nearest point and the square of its distance; of equals the first."""
    half = points.square().sum(1) / 2
    best, where = [], []
    with full_fp32(rows.device):
        for part in torch.split(rows, max(1, CHUNK // len(points))):
            least, place = torch.addmm(half, part, points.T, alpha=-1).min(dim=1)
            best.append(part.square().sum(1) + 2 * least)
            where.append(place)
    return torch.cat(where), torch.cat(best)
