"""Small made-up worlds: codes, labels and a source of activations, all given as plain arrays."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnisae.concepts.annotations import Annotations, Region
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.extractor import Extractor
from omnisae.hooks.point import HookPoint
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.postings import Postings
from omnisae.postings.writer import PostingsWriter
from omnisae.store.source import TokenSource
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter


class PlainDataset(Dataset):
    def __init__(self, annotations: Annotations, ids: Sequence[str] | None = None, groups: Sequence[str] = ()) -> None:
        self._annotations, self._groups = annotations, groups
        self._ids = ids if ids is not None else annotations.ids

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        return Example(row, self.ids[row], None)

    def fingerprint(self) -> str:
        return "plain"

    def annotations(self) -> Annotations:
        return self._annotations

    def groups(self, column: str) -> Sequence[str]:
        return self._groups if column == "group" else super().groups(column)


class PlainExtractor(Extractor):
    def resolve(self, hooks: Any) -> list[HookPoint]:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return "plain"

    def prepare(self, example: Example) -> Any:
        raise NotImplementedError

    def extract(self, rows: Any, inputs: Any, hooks: Any) -> Any:
        raise NotImplementedError


class PlainSource(TokenSource):
    """Tokens out of an array, `batch` of them at a time whatever is asked for."""

    def __init__(self, hook: HookPoint, values: Any, example: Any, coords: Any, batch: int) -> None:
        self.hook, self._batch = hook, batch
        self._values, self._example, self._coords = values, example, coords

    def fingerprint(self) -> str:
        return "plain"

    def sequential(
        self, keep: TokenFilter, examples: np.ndarray | None = None, batch: int = 4096
    ) -> Iterator[TokenBatch]:
        mine = np.arange(len(self._example)) if examples is None else np.flatnonzero(examples[self._example])
        for start in range(0, len(mine), self._batch):
            part = mine[start : start + self._batch]
            yield TokenBatch(
                torch.from_numpy(self._values[part]).float(),
                torch.from_numpy(self._example[part].astype(np.int64)),
                torch.from_numpy(self._coords[part].astype(np.int32)),
                torch.zeros(len(part), dtype=torch.uint8),
            )

    def stream(self, keep: TokenFilter, examples: Any = None, **rest: Any) -> Any:
        raise NotImplementedError


@dataclass
class World:
    """`codes` are dense (token, latent), for the tokens of all examples, trained-on ones among them."""

    codes: np.ndarray
    example: np.ndarray
    coords: np.ndarray
    split: np.ndarray
    hook: HookPoint
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    regions: Callable[[int], Sequence[Region] | None] | None = None
    region_concepts: Sequence[str] = ()
    unknown: Callable[[int], Sequence[Region]] | None = None
    groups: Sequence[str] = ()
    activations: np.ndarray | None = None
    batch: int = 7
    signed: bool = False

    def dataset(self) -> PlainDataset:
        ids = [f"e{i}" for i in range(len(self.split))]
        known = Annotations(ids, self.labels, self.regions, self.region_concepts, self.unknown)
        return PlainDataset(known, groups=self.groups)

    def extractor(self) -> PlainExtractor:
        return PlainExtractor()

    def source(self) -> PlainSource:
        values = self.activations if self.activations is not None else np.zeros((len(self.example), self.hook.width))
        return PlainSource(self.hook, values, self.example, self.coords, self.batch)

    def _writer(self, out: Path) -> PostingsWriter:
        latents = self.codes.shape[1]
        return PostingsWriter(out, self.hook, TokenFilter(), latents, self.split, signed=self.signed)

    def postings(self, out: Path) -> Postings:
        with self._writer(out) as writer:
            held_out = np.flatnonzero(self.split[self.example] != 0)
            for start in range(0, len(held_out), self.batch):
                part = held_out[start : start + self.batch]
                rows, latents = self.codes[part].nonzero()
                offsets = np.r_[0, np.cumsum((self.codes[part] != 0).sum(axis=1))]
                writer.append(
                    self.example[part],
                    self.coords[part],
                    np.zeros(len(part), np.uint8),
                    offsets,
                    latents,
                    self.codes[part][rows, latents],
                )
            return writer.finish(health(Reconstruction(), writer.counts, len(held_out), writer.poles))


def line_hook(width: int = 4) -> HookPoint:
    return HookPoint(name="line", at=("line",), pattern="example position d", width=width)


def ragged(sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Example and coordinate of every token of examples of these lengths."""
    example = np.repeat(np.arange(len(sizes)), sizes)
    return example, np.concatenate([np.arange(n) for n in sizes])[:, None]


@pytest.fixture(scope="session")
def world_of() -> Callable[..., World]:
    """A world over one axis: `sizes` tokens an example."""

    def build(codes: np.ndarray, sizes: Sequence[int], split: np.ndarray, **rest: Any) -> World:
        example, coords = ragged(sizes)
        return World(codes.astype(np.float32), example, coords, split.astype(np.uint8), line_hook(), **rest)

    return build
