"""Extractors: frozen models that turn examples into token batches at their hook points."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from omnisae.extract.dataset import Example
from omnisae.hooks.point import HookPoint
from omnisae.tokens.batch import TokenBatch

if TYPE_CHECKING:
    from omnisae.config import HookConfig


@dataclass(frozen=True, slots=True)
class Extraction:
    """The tokens of one batch of examples at every hook point asked for; `rows` are the examples' rows in order."""

    rows: tuple[int, ...]
    tokens: Mapping[str, TokenBatch]


class Extractor(ABC):
    """A frozen model. Subclass ModuleExtractor for an `nn.Module`, TableExtractor for vectors that exist already."""

    model: nn.Module | None = None
    """The hooked module, where there is one: what artifacts attach to."""

    in_parts: bool = False
    """Whether `extract_parts` gives more than one part."""

    @abstractmethod
    def resolve(self, hooks: "Sequence[HookConfig]") -> list[HookPoint]:
        """The hook points that a config names, with layout, sizes and width found from the model. Raises HookError."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the model's weights and of how it prepares its input."""

    def parent(self) -> str | None:
        """The hash of the hooked module alone, by which an artifact knows its model; None where there is no module."""
        from omnisae.hooks.fingerprint import fingerprint

        return fingerprint(self.model) if self.model is not None else None

    @abstractmethod
    def prepare(self, example: Example) -> Any:
        """The model's input for one example: tensors, ready to be collated. Runs in worker processes."""

    @abstractmethod
    def extract(self, rows: Sequence[int], inputs: Any, hooks: Sequence[HookPoint]) -> Extraction:
        """The tokens of one collated batch of prepared inputs, in the order of `rows`."""

    def extract_parts(
        self, rows: Sequence[int], inputs: Any, hooks: Sequence[HookPoint], emit: Callable[[Extraction], None]
    ) -> None:
        """As `extract`, with the tokens handed to `emit` part by part, in each part in the order of `rows`.

        An extractor whose `in_parts` is set gives them as they come, such as step by step, so that only one part is in
        memory.
        """
        emit(self.extract(rows, inputs, hooks))

    def batch_size(self) -> int:
        """How many examples go through the model at once."""
        return 32

    def collate(self, prepared: Sequence[Any]) -> Any:
        """One batch out of prepared inputs. Default: torch's own collation."""
        from torch.utils.data import default_collate

        return default_collate(list(prepared))

    def loss(self, rows: Sequence[int], inputs: Any) -> Float[Tensor, " example"] | None:
        """The model's own loss on each example under whatever edits are in force; None where it has none.

        This is the metric hook by which core measures loss recovered and the effect of an edit.
        """
        return None

    def picture(self, example: Example) -> UInt8[np.ndarray, "y x 3"] | None:
        """The example as the model saw it (resized and cropped), for visualizers; None where it is no picture."""
        return None

    def place(self, mask: Bool[np.ndarray, "y x"], example: Example) -> Bool[np.ndarray, "y x"]:
        """A mask over the raw example, carried through the same geometry as the picture. Default: as it is."""
        return mask


Batches = Iterable[tuple[tuple[int, ...], Any]]
"""Prepared inputs with the rows they came from."""

Extractions = Iterator[Extraction]
