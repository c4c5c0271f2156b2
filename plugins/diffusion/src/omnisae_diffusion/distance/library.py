"""What torchmetrics is given: features that were computed before, in float64."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.errors import DatasetError, PluginError

Features = Float[np.ndarray, "picture feature"]


SMALL = 50_000_000
"""Multiplications below which a product of matrices is left to one thread."""


class Given(nn.Module):
    """Stands where torchmetrics wants a network and hands on the features it is given.

    So the features are computed once for all numbers, and the numbers are the library's own.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.num_features = features

    def forward(self, features: Float[Tensor, "picture feature"]) -> Float[Tensor, "picture feature"]:
        return features


def check_installed() -> None:
    """Raises PluginError where torchmetrics is not installed."""
    try:
        import torchmetrics  # noqa: F401
    except ImportError as error:
        raise PluginError(
            f"FID and KID are computed by torchmetrics, which cannot be imported: {error}",
            "pip install 'omnisae-diffusion[distance]'",
        ) from error


@contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """One thread within, where the work is small: several then gain nothing, and on busy cores wait for each other."""
    before = torch.get_num_threads()
    if multiplications < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pair(first: Features, second: Features) -> tuple[Features, Features]:
    """Both sets in float64, in an order of their own: neither the order of the pictures nor which set is named first
    decides anything. Raises DatasetError where no distance can be taken."""
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise DatasetError(
            f"the features of the two sets have the shapes {list(first.shape)} and {list(second.shape)}",
            "give a row a picture, of one model",
        )
    for features in (first, second):
        if len(features) < 2:
            raise DatasetError(
                f"a set has {len(features)} picture; a distance needs two of either set", "give more pictures"
            )
        if not np.isfinite(features).all():
            rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
            raise DatasetError(
                f"{len(rows)} pictures have features that are NaN or infinite, the first in row {rows[0]}",
                "look at these pictures and at the model's precision",
            )
    ranked = [ordered(np.asarray(one, dtype=np.float64)) for one in (first, second)]
    ranked.sort(key=lambda one: (len(one), one.tobytes()))
    return ranked[0], ranked[1]


def ordered(features: Features) -> Features:
    """The rows sorted by their own values, so that nothing drawn from them hangs on the order of the pictures."""
    return np.ascontiguousarray(features[np.lexsort(features.T[::-1])])


def tensor(features: Features) -> Float[Tensor, "picture feature"]:
    return torch.from_numpy(np.array(features, dtype=np.float64))
