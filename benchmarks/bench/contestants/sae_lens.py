"""sae-lens: `SAETrainer.fit`, whole, with a data provider that hands out the batches."""

from collections.abc import Iterator
from typing import Any

import torch
from benchmarks.bench.contestants.contestant import Contestant, Reconstruction, held
from benchmarks.bench.setting import Setting
from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    SAETrainer,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.config import SAETrainerConfig
from torch import Tensor

ENDLESS = 10**12


class SaeLens(Contestant):
    """One trainer."""

    def __init__(self, setting: Setting, options: dict[str, Any]) -> None:
        super().__init__("sae-lens")
        torch.manual_seed(0)
        kind, config = (
            (TopKTrainingSAE, TopKTrainingSAEConfig)
            if setting.rule == "topk"
            else (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig)
        )
        self.sae = kind(
            config(
                d_in=setting.width,
                d_sae=setting.latents,
                k=setting.k,
                device=setting.device,
                rescale_acts_by_decoder_norm=options.get("rescale", True),
            )
        )
        self.config = SAETrainerConfig(
            total_training_samples=ENDLESS,
            train_batch_size_samples=setting.batch,
            lr=setting.lr,
            lr_end=setting.lr,
            device=setting.device,
            autocast=options.get("autocast", False),
        )
        self.trainer: SAETrainer[Any, Any] | None = None

    def train(self, batches: Iterator[Tensor]) -> None:
        self.trainer = SAETrainer(self.config, self.sae, batches)
        self.trainer.fit()

    def reconstruct(self, x: Tensor) -> Reconstruction:
        codes = self.sae.encode(x)
        return Reconstruction.of(self.sae.decode(codes), codes)

    def directions(self) -> Tensor:
        return self.sae.W_dec

    def kept(self) -> tuple[list[Tensor], list[Tensor]]:
        return held(self.sae, [self.trainer.optimizer] if self.trainer else [])


def build(setting: Setting, rows: Tensor, options: dict[str, Any]) -> Contestant:
    """`options`: `autocast` to bf16 (off by default), `rescale` codes by the decoder's norm (on by default)."""
    return SaeLens(setting, options)
