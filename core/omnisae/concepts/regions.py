"""Labels of tokens, from regions: masks laid over the hook point's grid, and intervals along its axes."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int32

from omnisae.concepts.annotations import Annotations, Interval, Mask, Region
from omnisae.concepts.concept import Concept
from omnisae.concepts.coverage import coverage as covered_shares
from omnisae.concepts.labels import Labels, Pairs, joined, sorted_pairs
from omnisae.errors import DatasetError, UnreadableExample, did_you_mean
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.extractor import Extractor
from omnisae.postings.postings import Postings

_ROUNDING = 1e-9
"""A cell covered exactly by the share that labels it must count, whatever the last digit of the sum says."""


def region_labels(
    postings: Postings, annotations: Annotations, dataset: Dataset, extractor: Extractor, share: float
) -> Labels:
    """Labels of tokens. A token has a concept where at least `share` of its cell is covered by one of its regions.

    Tokens of examples that were not annotated (`regions` gives None), and special tokens, count for nothing.
    Raises DatasetError where a region's concept is not among `region_concepts`.
    """
    builder = _Builder(postings, annotations, dataset, extractor, share)
    if annotations.regions is not None:
        for row, tokens in _runs(postings.example):
            regions = annotations.regions(row)
            if regions is not None:
                builder.add(row, tokens, regions, annotations.unknown(row) if annotations.unknown else ())
    return builder.finish()


class _Builder:
    def __init__(
        self, postings: Postings, annotations: Annotations, dataset: Dataset, extractor: Extractor, share: float
    ) -> None:
        self._postings, self._dataset, self._extractor, self._share = postings, dataset, extractor, share
        self._concepts = tuple(Concept(name, "region") for name in annotations.region_concepts)
        self._number = {concept.name: i for i, concept in enumerate(self._concepts)}
        self._axes = postings.hook.axes
        self._eligible = np.zeros(postings.n_tokens, dtype=bool)
        self._units: list[np.ndarray] = []
        self._numbers: list[np.ndarray] = []
        self._instances: list[np.ndarray] = []
        self._unknown_units: list[np.ndarray] = []
        self._unknown_numbers: list[np.ndarray] = []
        self._next_instance = 0
        self._homeless: Counter[str] = Counter()
        self._too_small = 0
        self._unreadable = 0

    def add(self, row: int, tokens: slice, regions: Sequence[Region], unknown: Sequence[Region] = ()) -> None:
        """The regions of one example, whose tokens are these rows of the token table, and what is not known of it."""
        coords = np.asarray(self._postings.coords[tokens])
        content = (coords >= 0).all(axis=1)
        example: Example | None = None
        if any(isinstance(region.place, Mask) for region in (*regions, *unknown)):
            try:
                example = self._dataset.load(row)
            except UnreadableExample:
                self._unreadable += 1
                return
        self._eligible[tokens] = content
        instances: dict[tuple[int, int], int] = {}
        seen: set[int] = set()
        for region in regions:
            number = self._concept(region, row)
            inside = self._inside(region, coords, row, example)
            if inside is None:
                continue
            mine = instances.setdefault((number, region.instance), self._next_instance + len(instances))
            units = np.flatnonzero(inside & content) + tokens.start
            if len(units):
                seen.add(mine)
                self._units.append(units)
                self._numbers.append(np.full(len(units), number))
                self._instances.append(np.full(len(units), mine))
        self._next_instance += len(instances)
        self._too_small += len(instances) - len(seen)
        for region in unknown:
            number = self._concept(region, row)
            inside = self._inside(region, coords, row, example)
            if inside is not None:
                units = np.flatnonzero(inside & content) + tokens.start
                self._unknown_units.append(units)
                self._unknown_numbers.append(np.full(len(units), number))

    def finish(self) -> Labels:
        """All labels, sorted."""
        unit, number, instance = sorted_pairs(joined(self._units), joined(self._numbers), joined(self._instances))
        hidden, of = self._hidden(unit, number)
        tokens = self._postings.n_tokens
        return Labels(
            level="token",
            concepts=self._concepts,
            eligible=self._eligible,
            unit=unit,
            concept=number,
            instance=instance,
            unknown_unit=hidden,
            unknown_concept=of,
            unit_of_token=np.arange(tokens, dtype=np.int32),
            tokens_in_unit=np.ones(tokens, dtype=np.int32),
            example_of_unit=np.array(self._postings.example),
            notes=tuple(self._notes()),
        )

    def _hidden(self, unit: Pairs, number: Pairs) -> tuple[Pairs, Pairs]:
        """Tokens of which a concept is not known, each once, in order. A region that names a token makes it known."""
        units, numbers = joined(self._unknown_units), joined(self._unknown_numbers)
        concepts = max(len(self._concepts), 1)
        pairs = np.unique(units.astype(np.int64) * concepts + numbers)
        pairs = pairs[~np.isin(pairs, unit.astype(np.int64) * concepts + number)]
        return (pairs // concepts).astype(np.int32), (pairs % concepts).astype(np.int32)

    def _notes(self) -> Iterator[str]:
        for why, count in sorted(self._homeless.items()):
            yield f"{count} regions {why}, and count for nothing"
        if self._too_small:
            yield (
                f"{self._too_small} regions cover no token's cell by {self._share:g} or more, and count for nothing "
                "(score.coverage)"
            )
        if self._unreadable:
            yield f"{self._unreadable} examples could not be read again for their masks, and count for nothing"

    def _concept(self, region: Region, row: int) -> int:
        number = self._number.get(region.concept)
        if number is None:
            raise DatasetError(
                f"example {self._dataset.ids[row]!r} has a region of {region.concept!r}, which is not among the "
                f"{len(self._number)} region concepts that the dataset names",
                did_you_mean(region.concept, self._number),
            )
        return number

    def _inside(
        self, region: Region, coords: Int32[np.ndarray, "token axis"], row: int, example: Example | None
    ) -> Bool[np.ndarray, " token"] | None:
        """The tokens that a region labels; None where the hook point lacks the axes it lies along."""
        place = region.place
        if isinstance(place, Interval):
            if place.axis not in self._axes:
                self._homeless[f"lie along {place.axis!r}, an axis that the hook point lacks"] += 1
                return None
            along = coords[:, self._axes.index(place.axis)]
            return np.asarray((along >= place.start) & (along < place.stop))
        if not {"y", "x"} <= set(self._axes) or example is None:
            self._homeless["are masks over y and x, axes that the hook point lacks"] += 1
            return None
        sizes = self._postings.sizes(row)
        mask = self._extractor.place(place.where, example)
        covered = covered_shares(mask, sizes["y"], sizes["x"]) >= self._share - _ROUNDING
        return np.asarray(covered[coords[:, self._axes.index("y")], coords[:, self._axes.index("x")]])


def _runs(example: Int32[np.ndarray, " token"]) -> Iterator[tuple[int, slice]]:
    """Every encoded example with its rows of the token table."""
    starts = np.flatnonzero(np.r_[True, example[1:] != example[:-1]]) if len(example) else np.empty(0, dtype=np.int64)
    stops = np.r_[starts[1:], len(example)].astype(np.int64)
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        yield int(example[start]), slice(start, stop)
