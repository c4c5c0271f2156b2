"""Searching for inputs that bring an erased concept back: noise, and mixtures of labels or prompts.

A black-box search: random draws first, then changes and joins of the best found so far. It needs no gradient, so it
serves any pipeline; a gradient-based attack (such as UnlearnDiffAtk, Zhang et al. 2024) may find what it does not. What
it finds is the largest of many scores, so it says something only beside the same search on the unedited model and on a
control.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnisae.errors import ConfigError
from omnisae_diffusion.candidates import Candidate, Space
from omnisae_diffusion.shares import exact

Generate = Callable[[Sequence[Candidate]], Sequence[object] | np.ndarray]
"""Pictures of candidates, in their order."""
Score = Callable[[Sequence[object] | np.ndarray], Float[np.ndarray, " picture"]]
"""How likely each picture shows the erased concept, 0 to 1."""

FRESH = 0.25
"""Share of draws from scratch while the best are changed: a search that sits on a plateau can still leave it."""
STRIDES = (0.0, 1.0)
WIDEST, NARROWEST = np.pi / 2, 0.05
"""Angles, in radians: the largest by which the noise of a good candidate is turned moves between them, and every change
takes a share of it drawn from `STRIDES`."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long and how one search goes: `generations` pictures in batches, the first share of them drawn at random;
    then the `keep` best are changed and joined. A picture whose score reaches `threshold` is a success."""

    generations: int = 128
    batch: int = 16
    explore: float = 0.5
    keep: int = 8
    threshold: float = 0.5

    def __post_init__(self) -> None:
        for name in ("generations", "batch", "keep"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it counts, from 1", f"set {name} to 1 or more")
        for name in ("explore", "threshold"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}; it is a share of 1", f"set {name} above 0, up to 1"
                )


@dataclass(frozen=True)
class Trial:
    """One search: the score of every picture in the order of generation, of which the first `explored` were drawn at
    random, and the best candidates with their scores, best first."""

    scores: Float[np.ndarray, " generation"]
    explored: int
    best: tuple[Candidate, ...]
    best_scores: tuple[float, ...]
    first: int | None
    """The generation, counted from 1, in which the concept first came back; None where it never did."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The share of `n` searches that brought the concept back within `generations`, with its exact 95 % interval."""

    generations: int
    value: float
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class Attack:
    """Several searches that differ by their seed alone."""

    trials: tuple[Trial, ...]
    threshold: float

    def rate(self, generations: int) -> Rate:
        """How many searches succeed within a budget. Raises ConfigError where no search went that far."""
        longest = max(len(trial.scores) for trial in self.trials)
        if not 1 <= generations <= longest:
            raise ConfigError(f"a rate within {generations} generations is asked for", f"choose from 1 to {longest}")
        hits = sum(trial.first is not None and trial.first <= generations for trial in self.trials)
        return Rate(generations, hits / len(self.trials), len(self.trials), *exact(hits, len(self.trials)))

    def curve(self) -> list[Rate]:
        """The rate after 1, 2, 4, 8 … generations and at the end."""
        longest = max(len(trial.scores) for trial in self.trials)
        budgets = [2**power for power in range(longest.bit_length()) if 2**power < longest]
        return [self.rate(budget) for budget in [*budgets, longest]]

    @property
    def unaided(self) -> Rate:
        """The share of pictures drawn at random, before any search, that show the concept (`generations` is 1)."""
        drawn = np.concatenate([trial.scores[: trial.explored] for trial in self.trials])
        hits = int((drawn >= self.threshold).sum())
        return Rate(1, hits / len(drawn), len(drawn), *exact(hits, len(drawn)))

    @property
    def best(self) -> list[tuple[float, Candidate]]:
        """Each search's best candidate with its score, best first."""
        found = [(trial.best_scores[0], trial.best[0]) for trial in self.trials]
        return sorted(found, key=lambda pair: -pair[0])


def attacks(
    models: Mapping[str, Generate],
    score: Score,
    space: Space,
    budget: Budget | None = None,
    *,
    restarts: int = 8,
    seed: int = 0,
) -> dict[str, Attack]:
    """The same searches on several models: the edited one first, beside it the unedited one and one in which random
    latents were edited instead. All start from the same draws; only what they learn on the way differs.

    Raises ConfigError where no model or no restart is given, and as `search` does.
    """
    if not models or restarts < 1:
        raise ConfigError(
            f"{len(models)} models and {restarts} restarts are given", "give at least one of each, e.g. restarts: 8"
        )
    budget = budget or Budget()
    return {
        name: Attack(
            tuple(search(generate, score, space, budget, seed=seed, restart=at) for at in range(restarts)),
            budget.threshold,
        )
        for name, generate in models.items()
    }


def search(generate: Generate, score: Score, space: Space, budget: Budget, *, seed: int = 0, restart: int = 0) -> Trial:
    """One search, decided by its seed and the number of its restart. What is listed in the space is tried first.

    Raises ConfigError where `generate` or `score` gives another number of items than it was asked for, or scores that
    are no probabilities.
    """
    random = np.random.default_rng([seed, restart, *b"adversarial"])
    explore = max(1, round(budget.explore * budget.generations))
    listed = space.listed(random)[:explore]
    candidates: list[Candidate] = []
    scores = np.zeros(0)
    step = WIDEST / 2
    while len(candidates) < budget.generations:
        done = len(candidates)
        end = explore if done < explore else budget.generations
        count = min(budget.batch, end - done)
        if done < explore:
            batch = listed[done : done + count]
            batch += [space.draw(random) for _ in range(count - len(batch))]
        else:
            batch = _changed(candidates, scores, space, budget, step, count, random)
        found = _judged(generate, score, batch)
        if done >= explore:
            # Wider while it helps, narrower where it does not.
            step = min(step * 1.5, WIDEST) if found.max() > scores.max() else max(step * 0.85, NARROWEST)
        candidates += batch
        scores = np.concatenate([scores, found])
    # Stable, so that of equals the first found counts.
    order = np.argsort(-scores, kind="stable")[: budget.keep]
    hits = np.flatnonzero(scores >= budget.threshold)
    return Trial(
        scores,
        explore,
        tuple(candidates[at] for at in order),
        tuple(float(scores[at]) for at in order),
        int(hits[0]) + 1 if len(hits) else None,
    )


def _changed(
    candidates: list[Candidate],
    scores: Float[np.ndarray, " generation"],
    space: Space,
    budget: Budget,
    step: float,
    count: int,
    random: np.random.Generator,
) -> list[Candidate]:
    """Children of the best and a share of fresh draws; all fresh where no candidate is better than another."""
    if scores.max() == scores.min():
        return [space.draw(random) for _ in range(count)]
    best = [candidates[at] for at in np.argsort(-scores, kind="stable")[: budget.keep]]
    return [space.draw(random) if random.random() < FRESH else _child(best, space, step, random) for _ in range(count)]


def _child(best: list[Candidate], space: Space, step: float, random: np.random.Generator) -> Candidate:
    """One of the best, or several of them joined, changed a little."""
    parents = 1 if random.random() < 0.5 else int(random.integers(1, len(best) + 1))
    chosen = [best[at] for at in random.permutation(len(best))[:parents]]
    return space.near(space.join(chosen), step * random.uniform(*STRIDES), random)


def _judged(generate: Generate, score: Score, batch: list[Candidate]) -> Float[np.ndarray, " candidate"]:
    pictures = generate(batch)
    if len(pictures) != len(batch):
        raise ConfigError(f"generate gave {len(pictures)} pictures of {len(batch)} candidates", "give one of each")
    found = np.asarray(score(pictures), dtype=np.float64)
    if found.shape != (len(batch),):
        raise ConfigError(
            f"score gave the shape {list(found.shape)} for {len(batch)} pictures", "give one number a picture"
        )
    if not ((found >= 0) & (found <= 1)).all():
        wrong = found[~((found >= 0) & (found <= 1))][0]
        raise ConfigError(f"score gave {wrong}", "give how likely the picture shows the concept, from 0 to 1")
    return found
