"""The studio: a run's model, artifact and prompts, making pictures with and without edits, and a classifier that
judges."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from omnisae.errors import ConfigError, DatasetError
from omnisae.interventions.operation import Operation
from omnisae.interventions.sae import SAE
from omnisae.interventions.weights import Along, Weighting
from omnisae.studies.study import Material
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.classify import Classifier
from omnisae_diffusion.extractor import DiffusionExtractor
from omnisae_diffusion.generated import Concept, Generated
from omnisae_diffusion.process import Pictures
from omnisae_diffusion.prompts import Prompts


@dataclass
class Studio:
    """Pictures of a dataset's prompts. `domains` are the dataset's columns whose words the classifier judges."""

    material: Material
    classifier: Classifier
    domains: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.material.extractor, DiffusionExtractor) or not isinstance(
            self.material.dataset, Prompts
        ):
            raise DatasetError(
                f"pictures are made of prompts by a diffusion model, and this run has the extractor "
                f"{type(self.material.extractor).__name__} on the dataset {type(self.material.dataset).__name__}",
                "ask this study in a run with diffusion.prompts and diffusion.pipeline (gather: generation)",
            )
        self.extractor: DiffusionExtractor = self.material.extractor
        self.prompts: Prompts = self.material.dataset
        for domain in self.domains:
            known = self.classifier.classes.get(domain)
            if known is None:
                raise ConfigError(
                    f"the classifier judges {', '.join(self.classifier.classes)}, and not {domain!r}",
                    "call its outputs after the dataset's columns, e.g. digit=3, or leave the column out",
                )
            for word in sorted(set(self.words[domain]) - {""} - set(known)):
                raise ConfigError(
                    f"column {domain!r} asks for {word!r}, which the classifier does not know",
                    f"its classes are {', '.join(known)}",
                )

    @cached_property
    def words(self) -> Mapping[str, list[str]]:
        """What every prompt asks for in each domain."""
        return {domain: self.prompts.words(domain) for domain in self.domains}

    @cached_property
    def sae(self) -> SAE:
        """The run's artifact, attached to the model."""
        return SAE.load(self.material.artifact).attach(self.extractor.model)

    @cached_property
    def where(self) -> tuple[Weighting, ...]:
        """The branch of guidance that is read, which is then the one that is edited; none where there is one only."""
        hook, branch = self.sae.info.hook, self.extractor.branch
        return () if branch is None or "branch" not in hook.axes else (Along("branch", {float(branch): 1.0}),)

    def asks(self, rows: Sequence[int] | Int[np.ndarray, " row"]) -> list[Ask]:
        """What is asked for in rows of the dataset."""
        return [self.prompts.asks[int(row)] for row in rows]

    def make(self, asks: Sequence[Ask], *operations: Operation, sae: SAE | None = None) -> Pictures:
        """Pictures under edits (none: remembered ones), batch by batch."""
        if not operations:
            return self.extractor.pictures(asks)
        size, made = self.extractor.batch_size(), []
        editor = sae or self.sae
        for start in range(0, len(asks), size):
            with editor.edit(self.extractor.model, *operations) if operations else nullcontext():
                made.append(self.extractor.process.generate(asks[start : start + size]))
        return np.concatenate(made)

    def judged(self, rows: Int[np.ndarray, " row"], pictures: Pictures) -> Generated:
        """Pictures of rows of the dataset with what was asked for and what the classifier sees."""
        labels = self.classifier.judge(pictures).labels
        asks = self.asks(rows)
        return Generated(
            prompts=[ask.text or f"label {ask.label}" for ask in asks],
            seeds=[ask.seed for ask in asks],
            asked={domain: [self.words[domain][int(row)] for row in rows] for domain in self.domains},
            judged={domain: labels[domain] for domain in self.domains},
        )

    def of(self, concept: Concept, side: int) -> Int[np.ndarray, " row"]:
        """Rows of one side of the split whose prompt asks for a concept."""
        words = np.asarray(self.words[concept.domain])
        rows = self.material.rows(side)
        return rows[words[rows] == concept.name]

    def without(self, concepts: Sequence[Concept], side: int) -> Int[np.ndarray, " row"]:
        """Rows of one side whose prompt asks for none of some concepts."""
        rows = self.material.rows(side)
        asked = np.zeros(len(rows), dtype=bool)
        for one in concepts:
            asked |= np.asarray(self.words[one.domain])[rows] == one.name
        return rows[~asked]

    def some(self, rows: Int[np.ndarray, " row"], most: int, salt: str) -> Int[np.ndarray, " row"]:
        """At most so many rows, a random part that stays the same."""
        if len(rows) <= most:
            return rows
        random = np.random.default_rng([self.material.seed, *salt.encode()])
        return np.sort(random.permutation(rows)[:most])

    def labels(self, domain: str) -> dict[str, np.ndarray]:
        """By concept of a domain, 1 for the examples that ask for it, 0 for those that ask for another, NaN else."""
        words = np.asarray(self.words[domain])
        known = words != ""
        return {
            str(Concept(domain, word)): np.where(known, (words == word).astype(np.float64), np.nan)
            for word in sorted(set(words[known]))
        }
