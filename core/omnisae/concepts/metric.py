"""Metrics: columns of the concept table. Rows and thresholds are chosen on SELECT; a metric sees TEST only."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float64, Int64

from omnisae.concepts.concept import Concept
from omnisae.concepts.gather import gather
from omnisae.concepts.stream import Stream
from omnisae.postings.postings import Postings


@dataclass(frozen=True)
class Evidence:
    """What a metric may look at: the chosen pairs of latent and concept, and the TEST examples.

    Row r pairs `latent[r]`, a posting list, with `concepts[concept[r]]` (where codes are signed a list is one pole of a
    latent: `postings.poles`). `threshold[r]` is on activations divided by the latent's
    maximum on SELECT (NaN for fractions). `counts` were made in one pass for all metrics: for classes `hits` (true
    positives), `predicted`, `positives`, `n`, `touched` and `instances`, and `rank_sum` (the sum of the positives'
    mid-ranks); for fractions `spearman`; NaN where they do not apply.

    A metric that needs more takes a row's units apart: `activation`, `truth` and `example` are aligned.
    """

    postings: Postings
    concepts: Sequence[Concept]
    latent: Int64[np.ndarray, " row"]
    concept: Int64[np.ndarray, " row"]
    threshold: Float64[np.ndarray, " row"]
    counts: Mapping[str, Float64[np.ndarray, " row"]]
    streams: Mapping[str, Stream]
    numbers: Sequence[int]
    """Each concept's number within its level."""

    def __len__(self) -> int:
        return len(self.latent)

    def kinds(self, *kinds: str) -> np.ndarray:
        """The rows whose concept is of one of these kinds, as a mask."""
        which = np.array([concept.kind in kinds for concept in self.concepts], dtype=bool)
        return np.asarray(which[self.concept]) if len(self.concept) else np.zeros(0, dtype=bool)

    def activation(self, row: int) -> Float64[np.ndarray, " unit"]:
        """The latent's activation at every unit of the concept's level, divided by its maximum on SELECT."""
        stream = self._stream(row)
        latent = self.latent[row : row + 1]
        sparse = gather(self.postings, stream, latent)
        out = np.zeros(len(stream))
        part = slice(int(sparse.starts[0]), int(sparse.stops[0]))
        ceiling = float(self.postings.maxima_select[latent[0]])
        out[sparse.position[part]] = sparse.value[part] / (ceiling if ceiling > 0 else 1.0)
        return out

    def truth(self, row: int) -> Float64[np.ndarray, " unit"]:
        """The concept's label of every unit: 0 or 1, or a fraction; NaN where unknown."""
        stream, number = self._stream(row), self.numbers[self.concept[row]]
        found = stream.truth(number)
        out = np.full(len(stream), np.nan)
        known = found.place >= 0
        values = found.values if found.values is not None else (found.mark > 0).astype(np.float64)
        out[known] = values[found.place[known]]
        return out

    def example(self, row: int) -> Int64[np.ndarray, " unit"]:
        """The dataset's row of every unit."""
        stream = self._stream(row)
        return np.asarray(stream.labels.example_of_unit[stream.units], dtype=np.int64)

    def _stream(self, row: int) -> Stream:
        return self.streams[self.concepts[self.concept[row]].level]


class Metric(ABC):
    """Agreement between latents and concepts. Declares its columns, and fills them for all rows at once.

    A column of the concept table that nothing else fills (auroc, iou, …) may be named as it is; any other one is shown
    as `<type>.<column>`, after the fixed ones.
    """

    columns: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def score(self, evidence: Evidence) -> Mapping[str, Float[np.ndarray, " row"]]:
        """One number a row for every column, NaN where it does not apply."""
