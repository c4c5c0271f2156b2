"""Erasing a concept: its table of latents and the strength, chosen on select prompts by what the pictures then show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from omnisae.extract.split import SELECT
from omnisae.interventions.weights import Weighting
from omnisae_diffusion.evaluation.levels import Levels
from omnisae_diffusion.evaluation.studio import Studio
from omnisae_diffusion.generated import Concept
from omnisae_diffusion.operations import ByTable, Erase, Steer
from omnisae_diffusion.plugin_studies import ErasureConfig, Way
from omnisae_diffusion.selection.table import LatentTable

Rows = Int[np.ndarray, " row"]


@dataclass(frozen=True)
class Trial:
    """One way of erasing, on select pictures: the share of own prompts that still show the concept, and of other
    prompts that show what was asked for in its domain, after and before."""

    way: Way
    percentile: float
    """Of the score above which latents are chosen; NaN of a map."""
    strength: float
    instead: str
    """What is put in the concept's place; empty where nothing is."""
    own: float
    kept: float
    kept_before: float

    @property
    def cost(self) -> float:
        """Points lost on other prompts."""
        return 100 * (self.kept_before - self.kept)


@dataclass(frozen=True)
class Choice:
    """How a concept is erased: table and strength, the trial that decided, and whether it reached the goal."""

    concept: Concept
    table: LatentTable
    control: LatentTable
    trial: Trial
    reached: bool
    n_own: int
    n_others: int
    gated: bool
    where: tuple[Weighting, ...]

    def operation(self) -> ByTable:
        return self._operation(self.table)

    def random(self) -> ByTable:
        """The same done to as many random latents that fire as often."""
        return self._operation(self.control)

    def _operation(self, table: LatentTable) -> ByTable:
        return by(self.trial.way, table, self.trial.strength, self.gated, self.where)


def by(way: Way, table: LatentTable, strength: float, gated: bool, where: tuple[Weighting, ...]) -> ByTable:
    """The operation of one way: codes turned round where they exceed their gate, or a map added: the concept's own, or
    the one that leads to another."""
    if way == "turn":
        return Erase(table=table, strength=strength, relative=True, gated=gated, weights=where)
    return Steer(table=table, strength=strength, gated=gated, weights=where)


class Erasing:
    """Chooses how concepts of a column are erased."""

    def __init__(self, studio: Studio, config: ErasureConfig) -> None:
        self.studio, self.config = studio, config
        self.levels = Levels(studio, config.column)

    def choose(self, concept: Concept) -> Choice:
        """The mildest way that reaches the goal on select prompts, with less of the concept than may be left, so that
        chance on test prompts finds room; else the one that loses least while it erases most."""
        config, studio = self.config, self.studio
        enough = config.left / 2 if config.select_left is None else config.select_left
        own = studio.some(studio.of(concept, SELECT), config.select_own, f"own {concept}")
        others = studio.some(studio.without([concept], SELECT), config.select_others, f"others {concept}")
        before = self._kept(others, studio.make(studio.asks(others)))
        trials: list[tuple[Trial, LatentTable]] = []
        for way, percentile, strengths, table in self._tables(concept):
            for strength in strengths:
                operation = by(way, table, strength, config.gated, studio.where)
                left = self.shown(concept, studio.make(studio.asks(own), operation))
                kept = before  # what the others lose no longer matters where the concept is not gone
                if left <= config.left:
                    kept = self._kept(others, studio.make(studio.asks(others), operation))
                instead = str(table.facts.get("instead", ""))
                trial = Trial(way, percentile, strength, instead, left, kept, before)
                trials.append((trial, table))
                if trial.own <= enough and trial.cost <= config.loss:
                    return self._choice(concept, trial, table, len(own), len(others), True)
        best = min(trials, key=lambda one: (self._missed(one[0]), one[0].own))
        return self._choice(concept, *best, len(own), len(others), self._missed(best[0]) == 0)

    def _missed(self, trial: Trial) -> float:
        """By how many points a trial misses the goal."""
        return 100 * max(trial.own - self.config.left, 0) + max(trial.cost - self.config.loss, 0)

    def _tables(self, concept: Concept) -> Iterator[tuple[Way, float, Sequence[float], LatentTable]]:
        """Ways of erasing with their strengths, the mildest first."""
        config, levels = self.config, self.levels

        def ready(table: LatentTable) -> LatentTable:
            return levels.gated(concept, table) if config.gated else table

        for way in config.ways:
            if way == "turn":
                for percentile in config.percentiles:
                    yield way, percentile, config.strengths, ready(levels.table(concept, percentile))
            elif way == "map":
                yield way, float("nan"), config.map_strengths, ready(levels.map(concept))
            else:
                for other in levels.maps.nearest(str(concept)):
                    yield way, float("nan"), config.swap_strengths, ready(levels.map(concept, other))

    def shown(self, concept: Concept, pictures: np.ndarray) -> float:
        """The share of pictures that are judged to show a concept."""
        judged = self.studio.classifier.judge(pictures).labels[concept.domain]
        return float(np.mean([label == concept.name for label in judged]))

    def _kept(self, rows: Rows, pictures: np.ndarray) -> float:
        """The share of pictures that show what was asked for in the column."""
        found = self.studio.judged(rows, pictures)
        return float(found.shows(self.config.column).mean())

    def _choice(
        self, concept: Concept, trial: Trial, table: LatentTable, n_own: int, n_others: int, reached: bool
    ) -> Choice:
        control = self.levels.control(concept, table)
        return Choice(concept, table, control, trial, reached, n_own, n_others, self.config.gated, self.studio.where)
