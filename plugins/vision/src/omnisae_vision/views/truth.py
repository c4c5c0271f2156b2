"""What masks say of the pictures in which a latent is strong."""

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from omnisae.concepts.annotations import Annotations, Mask
from omnisae.concepts.coverage import coverage
from omnisae.concepts.level import aligned
from omnisae.errors import UnreadableExample
from omnisae.extract.split import SELECT
from omnisae.report.visualizer import Firing, LatentView
from omnisae.report.visualizers.grid import grid
from omnisae.report.visualizers.once import Once
from omnisae_vision.views.outlines import FINE

REMEMBERED = 4096
"""Pictures whose masks are kept, for the next latent that shows them."""

Masks = Mapping[str, Bool[np.ndarray, "y x"]]


@dataclass(frozen=True, slots=True)
class Truth:
    """A concept, and its mask over every picture shown that was annotated, at most FINE pixels a side."""

    concept: str
    masks: Mapping[int, Bool[np.ndarray, "y x"]]


class Known:
    """The masks of a dataset's pictures as the model sees these, small. Each is read once, and the latest are kept."""

    def __init__(self) -> None:
        self._annotations: Once[Annotations] = Once(lambda dataset: aligned(dataset)[0])
        self._held: Once[OrderedDict[int, Masks | None]] = Once(lambda dataset: OrderedDict())

    def best(self, view: LatentView, firings: Sequence[Firing]) -> Truth | None:
        """The concept whose masks hold most of the latent's activation, beyond the area that they cover: the largest
        mean of (activation within / activation) − (area within / area) over the select pictures among those given.

        None where no mask holds more than its area, or none of these pictures was annotated.
        """
        masks = {firing.row: self.of(view, firing.row) for firing in firings}
        gains: dict[str, list[float]] = defaultdict(list)
        judged = 0
        for firing in firings:
            here = masks[firing.row]
            if here is None or (len(view.split) and view.split[firing.row] != SELECT):
                continue
            judged += 1
            for concept, where in here.items():
                gains[concept].append(_gain(grid(firing), where))
        if not gains:
            return None
        mean = {concept: sum(found) / judged for concept, found in gains.items()}
        best = min(mean, key=lambda concept: (-mean[concept], concept))
        if mean[best] <= 0:
            return None
        return Truth(best, {row: here[best] for row, here in masks.items() if here is not None and best in here})

    def of(self, view: LatentView, row: int) -> Masks | None:
        """Every concept's mask over a picture; None where it is not annotated, or cannot be read."""
        held = self._held(view.dataset)
        if row not in held:
            held[row] = self._read(view, row)
            while len(held) > REMEMBERED:
                held.popitem(last=False)
        held.move_to_end(row)
        return held[row]

    def _read(self, view: LatentView, row: int) -> Masks | None:
        regions = self._annotations(view.dataset).regions
        found = regions(row) if regions is not None else None
        if found is None:
            return None
        raw: dict[str, Bool[np.ndarray, "y x"]] = {}
        for region in found:
            if isinstance(region.place, Mask):
                before = raw.get(region.concept)
                raw[region.concept] = region.place.where if before is None else before | region.place.where
        if not raw:
            return {}
        try:
            example = view.dataset.load(row)
        except UnreadableExample:
            return None
        return {concept: _small(view.extractor.place(where, example)) for concept, where in raw.items()}


def _small(mask: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """A mask at no more than FINE pixels a side: set where at least half of a pixel was."""
    shrink = max(mask.shape) / FINE
    if shrink <= 1:
        return mask
    return np.asarray(
        coverage(mask, max(round(mask.shape[0] / shrink), 1), max(round(mask.shape[1] / shrink), 1)) >= 0.5
    )


def _gain(values: Float[np.ndarray, "y x"], where: Bool[np.ndarray, "y x"]) -> float:
    total = float(values.sum())
    if total <= 0:
        return 0.0
    held = coverage(where, *values.shape)
    return float((values * held).sum()) / total - float(held.mean())
