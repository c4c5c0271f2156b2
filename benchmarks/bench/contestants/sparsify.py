"""eai-sparsify: `sparsify.Trainer.fit`, whole, on a model whose only module puts out the batch at hand.

Its dataset asks for the next batch, so its own DataLoader, hook, masks, loss, optimiser, scheduler and counters are all
in the step. `fit` sets `torch.set_float32_matmul_precision("high")`, which is kept. Its scheduler always falls linearly
to zero over the dataset; the dataset is made so long that the rate stays as it is. Triton's decoder needs a driver, so
on a CPU SPARSIFY_DISABLE_TRITON=1 (which `crew.py` sets) chooses its own fallback.
"""

import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from benchmarks.bench.contestants.contestant import Contestant, Reconstruction, held
from benchmarks.bench.setting import Setting
from sparsify import SparseCoderConfig, TrainConfig, Trainer
from torch import Tensor, nn

ENDLESS = 10**9
HOOK = "tap"


class Model(nn.Module):
    """Puts out `batch` at its hook point, as one sequence."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.tap = nn.Identity()
        self.device = torch.device(setting.device)
        self.batch = torch.zeros(8, setting.width, device=self.device)

    @property
    def base_model(self) -> nn.Module:
        return self

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        return {"input_ids": torch.zeros(1, 8, dtype=torch.long)}

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.tap(self.batch[None])


class Dataset:
    """Sequences of token numbers that mean nothing; asking for one takes the next batch."""

    def __init__(self, model: Model, setting: Setting) -> None:
        self.model, self.tokens = model, torch.zeros(setting.batch, dtype=torch.long)
        self.batches: Iterator[Tensor] = iter(())

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, _: int) -> dict[str, Tensor]:
        self.model.batch = next(self.batches)
        return {"input_ids": self.tokens}


class Sparsify(Contestant):
    """One trainer."""

    def __init__(self, setting: Setting) -> None:
        super().__init__("eai-sparsify")
        if setting.rule != "topk":
            raise ValueError(f"eai-sparsify has no rule {setting.rule!r}: race it in a setting of 'topk'")
        self.folder = tempfile.TemporaryDirectory()
        model = Model(setting)
        self.dataset = Dataset(model, setting)
        config = TrainConfig(
            SparseCoderConfig(num_latents=setting.latents, k=setting.k),
            batch_size=1,
            optimizer="adam",
            lr=setting.lr,
            lr_warmup_steps=0,
            hookpoints=[HOOK],
            save_every=ENDLESS,
            save_dir=self.folder.name,
            log_to_wandb=False,
        )
        self.trainer = Trainer(config, self.dataset, model)

    def train(self, batches: Iterator[Tensor]) -> None:
        self.dataset.batches = batches
        self.trainer.fit()

    def reconstruct(self, x: Tensor) -> Reconstruction:
        coder = self.trainer.saes[HOOK]
        out = coder(x)
        firing = out.latent_acts > 0
        fired = torch.zeros(coder.num_latents, dtype=torch.bool, device=x.device)
        fired[out.latent_indices[firing]] = True
        return Reconstruction(out.sae_out, fired, int(firing.sum()))

    def directions(self) -> Tensor:
        return self.trainer.saes[HOOK].W_dec

    def kept(self) -> tuple[list[Tensor], list[Tensor]]:
        return held(self.trainer.saes[HOOK], self.trainer.optimizers)


def build(setting: Setting, rows: Tensor, options: dict[str, Any]) -> Contestant:
    """No options."""
    return Sparsify(setting)
