"""Loading: worker processes read and prepare examples, batch by batch, and tell which could not be read."""

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from omnisae.errors import DatasetError, OmnisaeError, UnreadableExample
from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor

TINY = 256
"""Examples below which starting worker processes costs more than it saves."""
MOST_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Skipped:
    """An example that could not be read, and why."""

    row: int
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """One batch: the rows `asked` for in order, those that could be read with their collated inputs, and the rest."""

    asked: tuple[int, ...]
    rows: tuple[int, ...]
    inputs: Any
    skipped: tuple[Skipped, ...]


def batches(
    dataset: Dataset,
    extractor: Extractor,
    rows: Sequence[int],
    workers: int | None = None,
    on_skip: Callable[[Skipped], None] | None = None,
) -> Iterator[tuple[tuple[int, ...], Any]]:
    """Collated batches of prepared inputs with the rows they came from, in the order of `rows`.

    Worker processes prepare examples (None: one a core, up to four; none where the dataset is tiny). Unreadable
    examples are left out and told to `on_skip`. Raises DatasetError where preparing an example fails in another way.
    """
    for loaded in load(dataset, extractor, rows, workers):
        if on_skip is not None:
            for skipped in loaded.skipped:
                on_skip(skipped)
        if loaded.rows:
            yield loaded.rows, loaded.inputs


def load(dataset: Dataset, extractor: Extractor, rows: Sequence[int], workers: int | None = None) -> Iterator[Loaded]:
    """The batches of `batches`, each with what it was asked for and what had to be left out."""
    size = extractor.batch_size()
    chunks = [tuple(int(row) for row in rows[i : i + size]) for i in range(0, len(rows), size)]
    count = workers_for(len(rows)) if workers is None else workers
    loader = DataLoader(
        _Batches(dataset, extractor, chunks), batch_size=None, num_workers=min(count, len(chunks)), collate_fn=_as_is
    )
    batches = iter(loader)
    while True:
        try:
            got = next(batches, None)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DatasetError(
                f"a process that prepares examples died: {error}",
                "set `store.workers: 0` to prepare them in this process: it needs no shared memory (/dev/shm)",
            ) from error
        if got is None:
            return
        if isinstance(got, _Failed):
            raise got.error()
        yield got


def workers_for(examples: int) -> int:
    """How many processes prepare this many examples."""
    if examples < TINY:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, cores)


@dataclass(frozen=True, slots=True)
class _Failed:
    """An error that a worker met, carried over to the main process whole."""

    row: int
    id: str
    reason: str
    known: OmnisaeError | None
    text: str

    def error(self) -> OmnisaeError:
        error = self.known or DatasetError(
            f"example {self.id!r} (row {self.row}) could not be prepared: {self.reason}",
            "mend the extractor's `prepare`; where the example is at fault, raise UnreadableExample",
        )
        error.add_note(self.text)
        return error


class _Batches(TorchDataset[Any]):
    """Whole batches as items of a torch dataset, so that a worker prepares a batch at a time."""

    def __init__(self, dataset: Dataset, extractor: Extractor, chunks: Sequence[tuple[int, ...]]) -> None:
        self.dataset, self.extractor, self.chunks = dataset, extractor, chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> "Loaded | _Failed":
        asked = self.chunks[index]
        rows, prepared, skipped = [], [], []
        for row in asked:
            try:
                prepared.append(self.extractor.prepare(self.dataset.load(row)))
                rows.append(row)
            except UnreadableExample as error:
                skipped.append(Skipped(row, self.dataset.ids[row], error.problem))
            except Exception as error:
                return self._failed(row, error)
        try:
            inputs = self.extractor.collate(prepared) if prepared else None
        except Exception as error:
            return self._failed(asked[0], error)
        return Loaded(asked, tuple(rows), inputs, tuple(skipped))

    def _failed(self, row: int, error: Exception) -> _Failed:
        # Only what pickles for certain goes through the pipe: errors of libraries often do not.
        known = type(error)(error.problem, error.remedy) if isinstance(error, OmnisaeError) else None
        text = "".join(traceback.format_exception(error))
        return _Failed(row, self.dataset.ids[row], f"{type(error).__name__}: {error}", known, text)


def _as_is(item: Any) -> Any:
    return item
