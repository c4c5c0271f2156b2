"""Where an autoencoder starts: its centre and its directions."""

import torch
from jaxtyping import Float
from torch import Tensor


def geometric_median(
    points: Float[Tensor, "token width"], *, steps: int = 100, tolerance: float = 1e-6
) -> Float[Tensor, " width"]:
    """The point with the smallest sum of distances to all points, by Weiszfeld's iteration (Weiszfeld 1937).

    Outliers pull it less than they pull the mean. Distances are floored, so that landing on a point is no division by
    zero.
    """
    wide = points.double()
    median = wide.mean(0)
    floor = 1e-9 * (wide - median).norm(dim=1).mean() + 1e-300
    for _ in range(steps):
        weights = 1 / (wide - median).norm(dim=1).clamp(min=floor)
        moved = (weights[:, None] * wide).sum(0) / weights.sum()
        if (moved - median).norm() <= tolerance * (1 + moved.norm()):
            median = moved
            break
        median = moved
    return median.to(points.dtype)


def towards_data(
    directions: Float[Tensor, "latent width"], centred: Float[Tensor, "token width"], share: float, seed: int
) -> Float[Tensor, "latent width"]:
    """Unit directions moved towards those of randomly drawn tokens: `share` data, the rest as given, at norm one.

    Latents that start where data lie are found dead less often and find planted directions better than random ones;
    what is left of the random direction tells apart latents that drew the same token.
    """
    generator = torch.Generator().manual_seed(seed + 0x0_DA7A)
    drawn = torch.randint(len(centred), (len(directions),), generator=generator).to(centred.device)
    data = torch.nn.functional.normalize(centred[drawn], dim=1)
    return torch.nn.functional.normalize(share * data + (1 - share) * directions, dim=1)


def unit_directions(latents: int, width: int, seed: int) -> Float[Tensor, "latent width"]:
    """Random directions of norm one, the same on every machine for one seed."""
    # Salted: data made from the same seed must not share the autoencoder's draws.
    generator = torch.Generator().manual_seed(seed + 0x0D_1C7104)
    directions = torch.randn(latents, width, generator=generator)
    return torch.nn.functional.normalize(directions, dim=1)
