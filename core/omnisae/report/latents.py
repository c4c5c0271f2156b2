"""One latent at a time, out of the posting lists: its entries, its strength in every example, where it fires in one."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor
from omnisae.hooks.point import HookPoint
from omnisae.report.visualizer import Firing, LatentView

if TYPE_CHECKING:
    from omnisae.postings.postings import Postings

_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Entries:
    """The tokens in which a latent fires, ascending, with their example and value."""

    tokens: Int[np.ndarray, " entry"]
    examples: Int[np.ndarray, " entry"]
    values: Float[np.ndarray, " entry"]


class Latents:
    """The latents of a run's posting lists, as drawings need them. They are numbered as the lists: where codes are
    signed, one is one pole of a latent."""

    def __init__(self, postings: "Postings", dataset: Dataset, extractor: Extractor, hook: HookPoint) -> None:
        self.postings, self.dataset, self.extractor, self.hook = postings, dataset, extractor, hook
        self._axes = hook.axes
        self._example = np.asarray(postings.example)
        self.examples = len(dataset)

    @property
    def scored(self) -> Bool[np.ndarray, " example"]:
        """Which examples have tokens in the posting lists."""
        return np.bincount(self._example, minlength=self.examples)[: self.examples] > 0

    def spread(self) -> Int[np.ndarray, " latent"]:
        """In how many examples each latent fires, counted in blocks of latents."""
        lists = len(self.postings.poles)
        offsets, spread = np.asarray(self.postings.offsets), np.zeros(lists, dtype=np.int64)
        for start in range(0, lists, _BLOCK):
            stop = min(start + _BLOCK, lists)
            part = slice(int(offsets[start]), int(offsets[stop]))
            owner = np.repeat(np.arange(stop - start), np.diff(offsets[start : stop + 1]))
            examples = self._example[np.asarray(self.postings.token[part])]
            new = np.ones(len(owner), dtype=bool)
            new[1:] = (owner[1:] != owner[:-1]) | (examples[1:] != examples[:-1])
            spread[start:stop] = np.bincount(owner[new], minlength=stop - start)
        return spread

    def entries(self, latent: int) -> Entries:
        """The tokens in which a latent fires."""
        tokens, values = self.postings.entries(latent)
        tokens = np.asarray(tokens, dtype=np.int64)
        return Entries(tokens, self._example[tokens], np.asarray(values, dtype=np.float32))

    def strength(self, entries: Entries) -> Float[np.ndarray, " example"]:
        """The latent's largest value in every example; 0 where it is silent."""
        strength = np.zeros(self.examples, dtype=np.float32)
        if len(entries.values):
            starts = np.flatnonzero(np.r_[True, np.diff(entries.examples) > 0])
            strength[entries.examples[starts]] = np.maximum(np.maximum.reduceat(entries.values, starts), 0.0)
        return strength

    def view(self, latent: int, entries: Entries, scored: Bool[np.ndarray, " example"]) -> LatentView:
        """What visualizers see of a latent."""
        return LatentView(
            latent=self.postings.poles.latent(latent),
            sign=self.postings.poles.sign(latent),
            hook=self.hook,
            ceiling=float(entries.values.max(initial=0.0)),
            strength=self.strength(entries),
            dataset=self.dataset,
            extractor=self.extractor,
            scored=scored,
            split=np.asarray(self.postings.split),
            values=entries.values,
            tokens=int(self.postings.n_tokens),
            firing_in=partial(self.firing, entries),
        )

    def firing(self, entries: Entries, row: int) -> Firing:
        """Where the latent fires within one example."""
        low, high = np.searchsorted(entries.examples, [row, row + 1])
        coords = np.asarray(self.postings.coords[entries.tokens[low:high]])
        sizes = self.postings.sizes(row)
        return Firing(row, coords, entries.values[low:high], {axis: sizes[axis] for axis in self._axes})
