"""What visualizers ask of a dataset once, not once a latent."""

from collections.abc import Callable
from typing import Generic, TypeVar

from omnisae.extract.dataset import Dataset

T = TypeVar("T")


class Once(Generic[T]):
    """The answer to a question about a dataset, kept until another dataset is asked about."""

    def __init__(self, ask: Callable[[Dataset], T]) -> None:
        self._ask = ask
        self._held: tuple[Dataset, T] | None = None

    def __call__(self, dataset: Dataset) -> T:
        if self._held is None or self._held[0] is not dataset:
            self._held = (dataset, self._ask(dataset))
        return self._held[1]
