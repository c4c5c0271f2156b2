"""One latent edited in one region of many pictures, beside its controls: what changes of the model's answer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from omnisae.concepts.coverage import coverage
from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor
from omnisae.extract.loading import batches
from omnisae.interventions.operation import Operation, scale, set_to
from omnisae.interventions.sae import SAE
from omnisae.postings.poles import Sign
from omnisae_vision.editing import Within
from omnisae_vision.editing_answers import Answers, decisions, logs
from omnisae_vision.editing_push import along, at_random, pushed
from omnisae_vision.editing_regions import Places

INSIDE, OUTSIDE, RANDOM, OTHERS = "inside", "outside", "random", "others"
CONDITIONS = (INSIDE, OUTSIDE, RANDOM, OTHERS)
Scores = Float[np.ndarray, "example place output"]
Each = Float[np.ndarray, " example"]


@dataclass(frozen=True)
class Change:
    """What an edit changes in every picture.

    `target`: the share of decisions about the target that change; `other`: of all others. For whole pictures the target
    is one output, and the others are the other outputs. For a dense answer the target are the places of the region, and
    the others all other places. `shift` is the mean change of the target output's logit (softmax: log-probability)
    there, `other_shift` the mean size of the others'.
    """

    target: Each
    other: Each
    shift: Each
    other_shift: Each

    @staticmethod
    def joined(parts: "Sequence[Change]") -> "Change":
        """The pictures of several batches."""
        fields = ("target", "other", "shift", "other_shift")
        return Change(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))

    @staticmethod
    def mean(draws: "Sequence[Change]") -> "Change":
        """The mean over draws of a control, picture by picture."""
        fields = ("target", "other", "shift", "other_shift")
        return Change(*(np.mean([getattr(draw, name) for draw in draws], axis=0) for name in fields))

    @staticmethod
    def unknown(pictures: int) -> "Change":
        """What nobody measured: NaN."""
        return Change(*(np.full(pictures, np.nan) for _ in range(4)))


@dataclass(frozen=True)
class Trial:
    """How one latent (with the sign of its pole) is edited, and the latents and directions that stand beside it."""

    latent: int
    sign: Sign | None
    switch: str
    amount: float
    others: Sequence[tuple[int, Sign | None]]
    draws: int
    seed: Sequence[int]

    def operation(self) -> Operation:
        """The edit, wherever it takes place."""
        if self.switch == "off":
            return scale(self.latent, 0.0, sign=self.sign)
        return set_to(self.latent, self.amount, unit="max", sign=self.sign)

    @property
    def towards(self) -> int:
        """Whether the edit takes the latent's direction away (−1) or writes it."""
        return -1 if self.switch == "off" else 1


class Bench:
    """Runs trials: a model with its artifact, and how its answers are read."""

    def __init__(self, sae: SAE, extractor: Extractor, dataset: Dataset, answers: Answers, sigmoid: bool) -> None:
        assert extractor.model is not None
        self._sae, self._extractor, self._dataset = sae, extractor, dataset
        self._model, self._answers, self._sigmoid = extractor.model, answers, sigmoid

    def target(self, trial: Trial, places: Places) -> int:
        """The output that the edit within the region moves most, by the mean size of its shift."""
        moved: list[np.ndarray] = []
        for at, inputs in self._batches(places):
            plain = logs(self._score(inputs, nullcontext()), self._sigmoid)
            edited = logs(self._score(inputs, self._edit(trial, places.inside[at])), self._sigmoid)
            here = self._read(places.inside[at])
            shifts = zip(np.abs(edited - plain), here, strict=True)
            moved += [one[where].mean(axis=0) for one, where in shifts if where.any()]
        return int(np.mean(moved, axis=0).argmax()) if moved else 0

    def run(self, trial: Trial, places: Places, target: int) -> tuple[Int[np.ndarray, " row"], dict[str, Change]]:
        """The rows that could be read, and what changes in each under every condition."""
        rows: list[np.ndarray] = []
        found: dict[str, list[Change]] = {name: [] for name in CONDITIONS}
        for at, inputs in self._batches(places):
            rows.append(places.rows[at])
            plain, here = self._score(inputs, nullcontext()), self._read(places.inside[at])
            for name, edits in self._conditions(trial, places, at).items():
                draws = [self._change(plain, self._score(inputs, edit), here, target) for edit in edits]
                found[name].append(Change.mean(draws) if draws else Change.unknown(len(at)))
        return np.concatenate(rows), {name: Change.joined(parts) for name, parts in found.items()}

    def outputs(self, places: Places) -> int:
        """How many outputs the model has."""
        for _, inputs in self._batches(places):
            return int(self._score(inputs, nullcontext()).shape[-1])
        return 0

    def _conditions(
        self, trial: Trial, places: Places, at: Int[np.ndarray, " row"]
    ) -> Mapping[str, Iterator[AbstractContextManager[None]]]:
        inside = self._within(trial, places.inside[at])
        width = self._sae.autoencoder.width
        directions = [at_random(seeded([*trial.seed, draw]), width) for draw in range(trial.draws)]
        others = [along(latent, sign, trial.towards) for latent, sign in trial.others]
        return {
            INSIDE: iter([self._edit(trial, places.inside[at])]),
            OUTSIDE: iter([self._edit(trial, places.outside[at])]),
            RANDOM: (pushed(self._sae, self._model, inside, direction) for direction in directions),
            OTHERS: (pushed(self._sae, self._model, inside, direction) for direction in others),
        }

    def _batches(self, places: Places) -> Iterator[tuple[Int[np.ndarray, " row"], object]]:
        """Prepared inputs with the positions of their pictures among `places`."""
        where = {int(row): i for i, row in enumerate(places.rows)}
        for read, inputs in batches(self._dataset, self._extractor, places.rows.tolist(), 0):
            yield np.array([where[row] for row in read]), inputs

    def _edit(self, trial: Trial, grids: Bool[np.ndarray, "example y x"]) -> AbstractContextManager[None]:
        return self._sae.edit(self._model, self._within(trial, grids))

    def _within(self, trial: Trial, grids: Bool[np.ndarray, "example y x"]) -> Within:
        return Within(trial.operation(), torch.from_numpy(np.ascontiguousarray(grids)))

    def _score(self, inputs: object, edit: AbstractContextManager[None]) -> Scores:
        with edit:
            return self._answers(inputs).double().numpy()

    def _read(self, grids: Bool[np.ndarray, "example y x"]) -> Bool[np.ndarray, "example place"]:
        """The places of an answer that lie in the region: of a whole answer the only one."""
        if not self._answers.dense:
            return np.ones((len(grids), 1), dtype=bool)
        y, x = self._answers.grid
        return np.stack([coverage(grid, y, x).ravel() >= 0.5 for grid in grids])

    def _change(self, plain: Scores, edited: Scores, here: Bool[np.ndarray, "example place"], target: int) -> Change:
        flips = decisions(edited, self._sigmoid) != decisions(plain, self._sigmoid)
        shift = logs(edited, self._sigmoid) - logs(plain, self._sigmoid)
        if not self._answers.dense:
            rest = np.arange(plain.shape[-1]) != target
            return Change(
                flips[:, 0, target].astype(np.float64), _mean(flips[:, 0][:, rest]),
                shift[:, 0, target], _mean(np.abs(shift[:, 0][:, rest])),
            )  # fmt: skip
        changed = flips[..., target] if self._sigmoid else flips.any(axis=-1)
        return Change(
            _mean_where(changed, here), _mean_where(changed, ~here),
            _mean_where(shift[..., target], here), _mean_where(np.abs(shift[..., target]), ~here),
        )  # fmt: skip


def _mean(values: np.ndarray) -> Each:
    """The mean of each row; NaN where there is nothing."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    return np.asarray(values.mean(axis=1), dtype=np.float64)


def _mean_where(values: np.ndarray, where: Bool[np.ndarray, "example place"]) -> Each:
    count = where.sum(axis=1)
    return np.where(count > 0, (values * where).sum(axis=1) / np.maximum(count, 1), np.nan)


def seeded(seed: Sequence[int]) -> torch.Generator:
    drawn = np.random.default_rng(list(seed)).integers(0, 2**62)
    return torch.Generator().manual_seed(int(drawn))
