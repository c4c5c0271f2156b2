"""Where an autoencoder starts: its centre and its directions."""

import torch
from jaxtyping import Float
from torch import Tensor

DRAWN = 1024
"""Directions drawn at a time. Another number would be other directions."""


def geometric_median(
    points: Float[Tensor, "token width"], *, steps: int = 100, tolerance: float = 1e-6
) -> Float[Tensor, " width"]:
    """The point with the smallest sum of distances to all points, by Weiszfeld's iteration (Weiszfeld 1937).

    Outliers pull it less than they pull the mean. Distances are floored, so that landing on a point is no division by
    zero.
    """
    mean = points.double().mean(0)
    # About the mean, and by products of a matrix and a vector: no step writes a matrix of differences.
    wide = points.double() - mean
    squares = wide.square().sum(1)
    floor = 1e-9 * squares.sqrt().mean() + 1e-300
    median = torch.zeros_like(mean)
    for _ in range(steps):
        distances = (squares - 2 * (wide @ median) + median.square().sum()).clamp(min=0).sqrt()
        weights = 1 / distances.clamp(min=floor)
        moved = (weights @ wide) / weights.sum()
        still = (moved - median).norm() <= tolerance * (1 + (mean + moved).norm())
        median = moved
        if still:
            break
    return (mean + median).to(points.dtype)


def towards_data(
    directions: Float[Tensor, "latent width"],
    centred: Float[Tensor, "token width"],
    share: float,
    seed: int,
    latents: int,
    held: slice,
) -> Float[Tensor, "latent width"]:
    """Unit directions moved towards those of randomly drawn tokens: `share` data, the rest as given, at norm one.

    Latents that start where data lie are found dead less often and find planted directions better than random ones;
    what is left of the random direction tells apart latents that drew the same token. Tokens are drawn for all
    `latents`; `directions` are the `held` ones'.
    """
    generator = torch.Generator().manual_seed(seed + 0x0_DA7A)
    drawn = torch.randint(len(centred), (latents,), generator=generator)[held].to(centred.device)
    data = torch.nn.functional.normalize(centred[drawn], dim=1)
    return torch.nn.functional.normalize(share * data + (1 - share) * directions, dim=1)


def unit_directions(latents: int, width: int, seed: int, held: slice | None = None) -> Float[Tensor, "latent width"]:
    """Random directions of norm one, the same on every machine for one seed.

    All are drawn, on the host and some at a time, but only those of the `held` latents are kept: they are the same
    however many processes share the latents, and none has to hold them all.
    """
    # Salted: data made from the same seed must not share the autoencoder's draws.
    generator = torch.Generator().manual_seed(seed + 0x0D_1C7104)
    first, stop, _ = (held or slice(None)).indices(latents)
    kept = torch.empty(stop - first, width)
    for start in range(0, latents, DRAWN):
        drawn = torch.randn(min(DRAWN, latents - start), width, generator=generator)
        wanted = drawn[max(first - start, 0) : max(stop - start, 0)]
        if len(wanted):
            place = max(start - first, 0)
            kept[place : place + len(wanted)] = torch.nn.functional.normalize(wanted, dim=1)
    return kept
