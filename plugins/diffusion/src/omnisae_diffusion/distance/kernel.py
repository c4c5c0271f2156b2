"""KID: the squared maximum mean discrepancy of two sets of features under a cubic kernel."""

import warnings
from dataclasses import dataclass

import torch

from omnisae_diffusion.distance.library import Features, Given, check_installed, pair, tensor, threads_for


@dataclass(frozen=True, slots=True)
class Kernel:
    """`value` is the mean over the subsets, `spread` their standard deviation; each has `size` pictures of either set.

    Subsets of one set overlap: the spread tells how subsets differ, and is no standard error of the value.
    """

    value: float
    spread: float
    subsets: int
    size: int


def kernel(first: Features, second: Features, subsets: int = 100, size: int = 1000, seed: int = 0) -> Kernel:
    """The unbiased estimate under k(a, b) = (a·b / d + 1)³, by torchmetrics, in float64 (Bińkowski et al. 2018).

    Its expectation is 0 for sets of one distribution, so single values fall below 0. `size` is brought down to half of
    the smaller set: subsets of all pictures would be alike, and their spread 0 whatever the sets. The same sets give
    the same value, whatever the order of pictures and whichever set stands first; the library's global random numbers
    are left as they were. Raises DatasetError where a set has fewer than two pictures,
    PluginError where torchmetrics is missing.
    """
    check_installed()
    from torchmetrics.image.kid import KernelInceptionDistance

    first, second = pair(first, second)
    size = min(size, max(min(len(first), len(second)) // 2, 2))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features in buffer.*")
        metric = KernelInceptionDistance(Given(first.shape[1]), subsets=subsets, subset_size=size)
    metric.update(tensor(first), real=True)
    metric.update(tensor(second), real=False)
    with torch.random.fork_rng(devices=[]), threads_for(size * size * first.shape[1]):
        torch.manual_seed(seed)
        value, spread = metric.compute()
    return Kernel(float(value), float(spread), subsets, size)
