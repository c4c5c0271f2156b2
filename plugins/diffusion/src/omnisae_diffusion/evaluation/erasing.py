"""Erasing a concept: its table of latents and the strength, chosen on select prompts by what the pictures then show."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from omnisae.extract.split import SELECT
from omnisae_diffusion.evaluation.levels import Levels
from omnisae_diffusion.evaluation.studio import Studio
from omnisae_diffusion.generated import Concept
from omnisae_diffusion.operations import Erase
from omnisae_diffusion.plugin_studies import ErasureConfig
from omnisae_diffusion.selection.table import LatentTable

Rows = Int[np.ndarray, " row"]


@dataclass(frozen=True)
class Trial:
    """One way of erasing, on select pictures: the share of own prompts that still show the concept, and of other
    prompts that show what was asked for in its domain, after and before."""

    percentile: float
    strength: float
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

    def operation(self) -> Erase:
        return Erase(table=self.table, strength=self.trial.strength, relative=True)

    def random(self) -> Erase:
        """The same done to as many random latents that fire as often."""
        return Erase(table=self.control, strength=self.trial.strength, relative=True)


class Erasing:
    """Chooses how concepts of a column are erased."""

    def __init__(self, studio: Studio, config: ErasureConfig) -> None:
        self.studio, self.config = studio, config
        self.levels = Levels(studio, config.column)

    def choose(self, concept: Concept) -> Choice:
        """The mildest way that reaches the goal on select prompts; else the one that loses least while it erases
        most."""
        config, studio = self.config, self.studio
        own = studio.some(studio.of(concept, SELECT), config.select_own, f"own {concept}")
        others = studio.some(studio.without([concept], SELECT), config.select_others, f"others {concept}")
        before = self._kept(others, studio.make(studio.asks(others)))
        trials: list[tuple[Trial, LatentTable]] = []
        for percentile in config.percentiles:
            table = self.levels.table(concept, percentile)
            for strength in config.strengths:
                trial = self._try(concept, table, percentile, strength, own, others, before)
                trials.append((trial, table))
                if self._reaches(trial):
                    return self._choice(concept, trial, table, len(own), len(others), True)
        best = min(trials, key=lambda one: max(one[0].own - config.left, 0) * 100 + max(one[0].cost - config.loss, 0))
        return self._choice(concept, *best, len(own), len(others), False)

    def _try(
        self,
        concept: Concept,
        table: LatentTable,
        percentile: float,
        strength: float,
        own: Rows,
        others: Rows,
        before: float,
    ) -> Trial:
        studio, operation = self.studio, Erase(table=table, strength=strength, relative=True)
        left = self.shown(concept, studio.make(studio.asks(own), operation))
        if left > self.config.left:  # what the others lose no longer matters
            return Trial(percentile, strength, left, before, before)
        kept = self._kept(others, studio.make(studio.asks(others), operation))
        return Trial(percentile, strength, left, kept, before)

    def shown(self, concept: Concept, pictures: np.ndarray) -> float:
        """The share of pictures that are judged to show a concept."""
        judged = self.studio.classifier.judge(pictures).labels[concept.domain]
        return float(np.mean([label == concept.name for label in judged]))

    def _kept(self, rows: Rows, pictures: np.ndarray) -> float:
        """The share of pictures that show what was asked for in the column."""
        found = self.studio.judged(rows, pictures)
        return float(found.shows(self.config.column).mean())

    def _reaches(self, trial: Trial) -> bool:
        return trial.own <= self.config.left and trial.cost <= self.config.loss

    def _choice(
        self, concept: Concept, trial: Trial, table: LatentTable, n_own: int, n_others: int, reached: bool
    ) -> Choice:
        control = self.levels.matched(concept, table)
        return Choice(concept, table, control, trial, reached, n_own, n_others)
