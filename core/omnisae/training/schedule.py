"""The optimiser and its learning rate over a training."""

from math import ceil

import torch
from torch import nn

from omnisae.config import TrainConfig

BETAS = (0.9, 0.999)
EPSILON = 1e-8
FUSED = ("cpu", "cuda", "mps", "xpu")


def steps(config: TrainConfig) -> int:
    """The number of optimiser steps: the tokens asked for, the last batch full as all others."""
    return ceil(config.tokens / config.batch)


def rate(step: int, config: TrainConfig) -> float:
    """The learning rate of a step (counted from 0): a linear rise, a plateau at `lr`, a linear fall.

    The first of `warmup · steps` steps already moves (1/n of the peak), and so does the last of `decay · steps`; the
    rate would reach zero one step after the end. Where rise and fall overlap, the lower of the two holds.
    """
    total = steps(config)
    rising, falling = ceil(config.warmup * total), ceil(config.decay * total)
    up = (step + 1) / rising if rising else 1.0
    down = (total - step) / falling if falling else 1.0
    return config.lr * min(1.0, up, down)


def adam(module: nn.Module, config: TrainConfig) -> torch.optim.Adam:
    """Adam (Kingma & Ba 2015; betas 0.9 and 0.999, epsilon 1e-8, no weight decay), fused where the device has it."""
    parameters = list(module.parameters())
    fused = all(parameter.device.type in FUSED for parameter in parameters)
    return torch.optim.Adam(parameters, lr=config.lr, betas=BETAS, eps=EPSILON, fused=fused)
