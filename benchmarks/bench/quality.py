"""How good a dictionary is: the same functions for every contestant, on rows that nobody has trained on."""

import torch
from torch import Tensor

ROWS = 4096


def explained_variance(x: Tensor, x_hat: Tensor) -> float:
    """1 − Σ‖x − x̂‖² / Σ‖x − mean‖², in fp64, in the units of the data, with the mean of these rows."""
    x, x_hat = x.double(), x_hat.double()
    return 1 - float((x - x_hat).square().sum() / (x - x.mean(0)).square().sum())


def dead_share(fired: Tensor) -> float:
    """The share of latents that fire on none of the rows."""
    return 1 - float(fired.double().mean())


def mean_max_cosine(directions: Tensor, truth: Tensor) -> float:
    """The mean over the planted directions of the largest cosine with a latent's direction."""
    learnt = torch.nn.functional.normalize(directions.detach().float(), dim=1)
    planted = torch.nn.functional.normalize(truth.float(), dim=1)
    largest = [(rows @ learnt.t()).max(dim=1).values for rows in planted.split(ROWS)]
    return float(torch.cat(largest).double().mean())
