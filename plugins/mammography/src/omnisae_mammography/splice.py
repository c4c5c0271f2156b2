"""The model's answers while only some latents speak."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omnisae.errors import DatasetError
from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor
from omnisae.extract.loading import batches
from omnisae.interventions.operation import Tokens
from omnisae.interventions.sae import SAE
from omnisae.interventions.sparse import only_entries


class Splice:
    """A model whose activations are replaced by what chosen latents say of them.

    A token becomes decode(z'), where z' are its codes without the latents that are not chosen; with `error`,
    x + decode(z') − decode(z). Tokens of air, too: squeeze-and-excitation tells every token of the whole picture, so
    that what is left untouched would give the diagnosis away.
    """

    def __init__(self, sae: SAE, extractor: Extractor, *, error: bool) -> None:
        if extractor.model is None or not hasattr(extractor, "answers"):
            raise DatasetError(
                "the extractor's model gives no answer", "use mammography.timm with a model that has a classifier"
            )
        self.extractor, self.model, self.error = extractor, extractor.model, error
        self.sae = sae.attach(extractor.model)

    def answers(
        self, dataset: Dataset, rows: Sequence[int], choices: Sequence[Bool[np.ndarray, " list"] | None]
    ) -> tuple[Int[np.ndarray, " read"], Float[np.ndarray, "choice read output"]]:
        """The rows that could be read, and the model's answers on them under each choice of latents (posting lists);
        None: the untouched model. Raises DatasetError where the model gives no row of numbers a picture."""
        read: list[int] = []
        found: list[Float[np.ndarray, "choice part output"]] = []
        for part, inputs in batches(dataset, self.extractor, rows):
            found.append(np.stack([self._answer(inputs, choice) for choice in choices]))
            read += part
        if not read:
            raise DatasetError("no test picture could be read again", "mend the dataset's files")
        return np.array(read), np.concatenate(found, axis=1)

    def _answer(self, inputs: Any, choice: Bool[np.ndarray, " list"] | None) -> Float[np.ndarray, "part output"]:
        if choice is None:
            found = self.extractor.answers(inputs)  # type: ignore[attr-defined]
        else:
            with self.only(choice):
                found = self.extractor.answers(inputs)  # type: ignore[attr-defined]
        if found is None:
            raise DatasetError(
                "the model answers with no row of numbers a picture", "use a model that has a classifier"
            )
        answer: Float[np.ndarray, "part output"] = found.double().cpu().numpy()
        return answer

    @contextmanager
    def only(self, choice: Bool[np.ndarray, " list"]) -> Iterator[None]:
        """Within the block, only the chosen latents speak."""
        allowed = torch.from_numpy(np.asarray(choice))
        latents, signed = self.sae.autoencoder.latents, self.sae.signed

        def change(x: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
            codes = self.sae.encode(x, check=False)
            lists = codes.latents.long() + (latents * (codes.values < 0) if signed else 0)
            kept = self.sae.decode(only_entries(codes, allowed.to(lists.device)[lists]))
            everything = torch.arange(len(x), device=x.device)
            return everything, x + kept - self.sae.decode(codes) if self.error else kept

        with self.sae.editing(self.model, change, delta=False):
            yield
