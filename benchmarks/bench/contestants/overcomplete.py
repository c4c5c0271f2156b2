"""overcomplete: `train_sae`, whole, with the mean squared error and without its monitoring.

BatchTopK is judged by its training rule, a share of the batch at hand, as everybody's.
"""

from collections.abc import Iterator
from typing import Any

import torch
from benchmarks.bench.contestants.contestant import Contestant, Reconstruction, held
from benchmarks.bench.setting import Setting
from overcomplete.sae import BatchTopKSAE, TopKSAE, train_sae
from torch import Tensor


class Overcomplete(Contestant):
    """One model with its optimiser."""

    def __init__(self, setting: Setting) -> None:
        super().__init__("overcomplete")
        torch.manual_seed(0)
        self.device = setting.device
        if setting.rule == "topk":
            self.sae = TopKSAE(setting.width, setting.latents, top_k=setting.k, device=setting.device)
        else:  # its BatchTopK counts over the whole batch
            k = setting.k * setting.batch
            self.sae = BatchTopKSAE(setting.width, setting.latents, top_k=k, device=setting.device)
        self.optimiser = torch.optim.Adam(self.sae.parameters(), lr=setting.lr)

    def train(self, batches: Iterator[Tensor]) -> None:
        train_sae(self.sae, batches, _error, self.optimiser, nb_epochs=1, monitoring=0, device=self.device)

    def reconstruct(self, x: Tensor) -> Reconstruction:
        kept = getattr(self.sae, "running_threshold", None)
        _, codes, x_hat = self.sae(x)
        if kept is not None:  # judging must not move it
            self.sae.running_threshold = kept
        return Reconstruction.of(x_hat, codes)

    def directions(self) -> Tensor:
        return self.sae.get_dictionary()

    def kept(self) -> tuple[list[Tensor], list[Tensor]]:
        return held(self.sae, [self.optimiser])


def _error(x: Tensor, x_hat: Tensor, *_: Tensor) -> Tensor:
    return (x - x_hat).square().mean()


def build(setting: Setting, rows: Tensor, options: dict[str, Any]) -> Contestant:
    """No options."""
    return Overcomplete(setting)
