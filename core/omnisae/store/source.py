"""Token sources: where tokens come from, be it a store on disk or an extractor at work."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from omnisae.hooks.point import HookPoint
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter


class TokenStream(ABC):
    """An endless, shuffled stream of activation batches for training, whose position can be saved and restored."""

    @abstractmethod
    def next(self) -> Float[Tensor, "token width"]:
        """The next batch, always of full size, fp32."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """The position, as JSON: a stream made the same way and given this state goes on with the very same rows."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved position."""

    @abstractmethod
    def where(self) -> str:
        """The origin of the last batch, for error messages (shard names, or examples)."""


class TokenSource(ABC):
    """The tokens of one hook point over a dataset."""

    hook: HookPoint

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of what the tokens are: model, dataset, hook point, dtype."""

    @abstractmethod
    def sequential(
        self, keep: TokenFilter, examples: Bool[np.ndarray, " example"] | None = None, batch: int = 4096
    ) -> Iterator[TokenBatch]:
        """All tokens that `keep` lets through, of the chosen examples, in the dataset's order, fp32."""

    @abstractmethod
    def stream(
        self,
        keep: TokenFilter,
        examples: Bool[np.ndarray, " example"] | None = None,
        *,
        batch: int,
        seed: int,
        pool: int = 65_536,
    ) -> TokenStream:
        """A shuffled endless stream of batches for training."""
