"""Gathering: examples prepared in worker processes, run through the model once, written for every hook point."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor
from omnisae.hooks.point import HookPoint
from omnisae.tokens.filter import TokenFilters

if TYPE_CHECKING:
    from omnisae.store.writer import StoreWriter


@dataclass(frozen=True, slots=True)
class Skipped:
    """An example that could not be read, and why."""

    row: int
    id: str
    reason: str


@dataclass(frozen=True)
class Gathered:
    """What an extraction did: examples and tokens written, and what was left out."""

    examples: int
    tokens: Mapping[str, int]
    skipped: Sequence[Skipped] = field(default_factory=tuple)


def batches(
    dataset: Dataset,
    extractor: Extractor,
    rows: Sequence[int],
    workers: int | None = None,
    on_skip: Callable[[Skipped], None] | None = None,
) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Collated batches of prepared inputs with the rows they came from, in the order of `rows`.

    Worker processes prepare examples (None: one a core, up to four; none where the dataset is tiny). Unreadable
    examples are left out and told to `on_skip`.
    """
    raise NotImplementedError


def gather(
    dataset: Dataset,
    extractor: Extractor,
    hooks: Sequence[HookPoint],
    writers: "Mapping[str, StoreWriter]",
    *,
    tokens: TokenFilters | None = None,
    workers: int | None = None,
    observe: Callable[[dict[str, Any]], None] | None = None,
) -> Gathered:
    """Write the tokens of all examples at every hook point, in one pass, going on where the writers stand."""
    raise NotImplementedError
