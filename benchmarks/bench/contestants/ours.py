"""omnisae: `Learner.step`, as its trainer calls it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from benchmarks.bench import data
from benchmarks.bench.contestants.contestant import SAMPLE, Contestant, Reconstruction
from benchmarks.bench.setting import Setting
from torch import Tensor

from omnisae.config import AutoencoderConfig, TrainConfig
from omnisae.training import launch
from omnisae.training.jobs import Job
from omnisae.training.learner import Learner

ENDLESS = 10**12
BLOCK = 512
"""Rows whose picks are compared at a time."""


def autoencoder_config(setting: Setting) -> AutoencoderConfig:
    """All else is the default."""
    activation = {"type": f"core.{setting.rule}", "k": setting.k}
    return AutoencoderConfig.model_validate({"latents": setting.latents, "activation": activation})


def train_config(setting: Setting, options: dict[str, Any], steps: int | None = None) -> TrainConfig:
    """A constant learning rate, and no checkpoint on the way."""
    return TrainConfig.model_validate(
        {
            "tokens": steps * setting.batch if steps else ENDLESS,
            "batch": setting.batch,
            "lr": setting.lr,
            "warmup": 0.0,
            "decay": 0.0,
            "precision": options["precision"],
            "accelerator": "cpu" if setting.device == "cpu" else "cuda",
            "checkpoint_every": ENDLESS,
        }
    )


class Ours(Contestant):
    """One learner."""

    def __init__(self, setting: Setting, rows: Tensor, options: dict[str, Any]) -> None:
        super().__init__("omnisae", "numba")
        config = train_config(setting, options)
        self.rate, self.k, self.device = config.lr, setting.k, setting.device
        fabric = launch.start(config)
        job = Job("bench", "data", autoencoder_config(setting), seed=0)
        self.learner = Learner(job, rows[:SAMPLE].to(fabric.device), fabric, config)

    def train(self, batches: Iterator[Tensor]) -> None:
        for number, x in enumerate(batches):
            self.learner.step(x, number, self.rate)

    def reconstruct(self, x: Tensor) -> Reconstruction:
        autoencoder = self.learner.autoencoder.eval()
        with self._rule(x):
            codes = autoencoder.encode(x)
        x_hat = autoencoder.decode(codes)
        autoencoder.train()
        fired = torch.zeros(autoencoder.latents, dtype=torch.bool, device=x.device)
        fired[codes.latents] = True
        return Reconstruction(x_hat, fired, len(codes.latents))

    @contextmanager
    def _rule(self, x: Tensor) -> Iterator[None]:
        """For BatchTopK the rule of training, k a row over these rows, by which the peers are judged, too."""
        threshold = getattr(self.learner.autoencoder.activation, "threshold", None)
        if threshold is None:
            yield
            return
        kept = threshold.clone()
        threshold.copy_(self._pre(x).flatten().topk(len(x) * self.k + 1, sorted=False).values.min().clamp(min=0))
        yield
        threshold.copy_(kept)

    def _pre(self, x: Tensor) -> Tensor:
        """The whole matrix of pre-activations, in fp32."""
        autoencoder = self.learner.autoencoder
        centred = autoencoder.normaliser(x)[0] - autoencoder.decoder_bias
        return torch.nn.functional.linear(centred, autoencoder.encoder, autoencoder.encoder_bias)

    def agreement(self, folder: Path) -> float:
        """The share of fp32's picks, from the whole matrix of pre-activations, that this precision makes too, on rows
        held out, for TopK.
        """
        autoencoder, agreed, picks = self.learner.autoencoder, 0, 0
        for x in data.read(folder, data.HELD_OUT).to(self.device).split(BLOCK):
            values, latents = self._pre(x).topk(self.k, dim=1)
            made = autoencoder.encode(x, autoencoder.precision).dense() != 0
            agreed += int((made.gather(1, latents) & (values > 0)).sum())
            picks += int((values > 0).sum())
        return agreed / picks

    def directions(self) -> Tensor:
        return self.learner.autoencoder.decoder_rows()

    def kept(self) -> tuple[list[Tensor], list[Tensor]]:
        tensors = self.learner.tensors()
        model = [tensor for name, tensor in tensors.items() if name.startswith("model.")]
        return model, [tensor for name, tensor in tensors.items() if name.startswith("adam.")]


def build(setting: Setting, rows: Tensor, options: dict[str, Any]) -> Contestant:
    """`options`: `precision`, one of omnisae's `train.precision`."""
    return Ours(setting, rows, options)
