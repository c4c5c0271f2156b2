"""dictionary-learning: `TopKTrainer.update` and `BatchTopKTrainer.update`, without warm-up.

BatchTopK is judged by its training rule, a share of the batch at hand, since its threshold for inference starts only
after a thousand steps.
"""

from collections.abc import Iterator
from typing import Any

from benchmarks.bench.contestants.contestant import Contestant, Reconstruction, held
from benchmarks.bench.setting import Setting
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from torch import Tensor

ENDLESS = 10**9


class DictionaryLearning(Contestant):
    """One trainer."""

    def __init__(self, setting: Setting) -> None:
        super().__init__("dictionary-learning")
        trainer = TopKTrainer if setting.rule == "topk" else BatchTopKTrainer
        self.trainer = trainer(
            steps=ENDLESS,
            activation_dim=setting.width,
            dict_size=setting.latents,
            k=setting.k,
            layer=0,
            lm_name="none",
            lr=setting.lr,
            warmup_steps=0,
            seed=0,
            device=setting.device,
        )

    def train(self, batches: Iterator[Tensor]) -> None:
        for number, x in enumerate(batches):
            self.trainer.update(number, x)

    def reconstruct(self, x: Tensor) -> Reconstruction:
        codes = self.trainer.ae.encode(x, use_threshold=False)
        return Reconstruction.of(self.trainer.ae.decode(codes), codes)

    def directions(self) -> Tensor:
        return self.trainer.ae.decoder.weight.t()

    def kept(self) -> tuple[list[Tensor], list[Tensor]]:
        return held(self.trainer.ae, [self.trainer.optimizer])


def build(setting: Setting, rows: Tensor, options: dict[str, Any]) -> Contestant:
    """No options."""
    return DictionaryLearning(setting)
