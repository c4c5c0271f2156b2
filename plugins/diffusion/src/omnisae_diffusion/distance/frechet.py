"""FID: the Fréchet distance between the Gaussians that fit two sets of features."""

import numpy as np

from omnisae_diffusion.distance.library import Features, Given, check_installed, pair, tensor, threads_for


def frechet(first: Features, second: Features) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½), by torchmetrics, in float64 (Heusel et al. 2017, Dowson & Landau 1982).

    The value of finite sets lies above that of their distributions, the more so the fewer the pictures (Chong &
    Forsyth 2020): compare it at equal counts only. Raises DatasetError where a set has fewer than two pictures,
    PluginError where torchmetrics is missing.
    """
    check_installed()
    from torchmetrics.image.fid import FrechetInceptionDistance

    first, second = pair(first, second)
    # The distance does not change when both sets are shifted alike; sums of squares far from zero lose digits.
    centre = np.concatenate([first, second]).mean(axis=0)
    first, second = _turned(first - centre, second - centre)
    metric = FrechetInceptionDistance(Given(first.shape[1]))
    with threads_for(first.shape[1] ** 3):
        metric.update(tensor(first), real=True)
        metric.update(tensor(second), real=False)
        found = float(metric.compute())
    # Rounding alone brings it below zero.
    return max(found, 0.0)


def _turned(first: Features, second: Features) -> tuple[Features, Features]:
    """Both sets in the axes that their pictures span, where those are fewer than the features.

    A rotation of both changes no distance, and the library's cost grows with the cube of the axes.
    """
    if first.shape[1] <= len(first) + len(second):
        return first, second
    _, _, axes = np.linalg.svd(np.concatenate([first, second]), full_matrices=False)
    return first @ axes.T, second @ axes.T
