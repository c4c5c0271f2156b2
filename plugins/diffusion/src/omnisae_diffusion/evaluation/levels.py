"""How strong every latent is for every concept of a column, at every time, on select prompts; tables made of that."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from omnisae.errors import ConfigError, did_you_mean
from omnisae.extract.split import SELECT
from omnisae_diffusion.evaluation.matched import matched
from omnisae_diffusion.evaluation.studio import Studio
from omnisae_diffusion.generated import Concept
from omnisae_diffusion.selection import saeuron
from omnisae_diffusion.selection.means import Means, means, on_side
from omnisae_diffusion.selection.table import LatentTable


class Levels:
    """Tables of a column's concepts by SAeUron's score, and their controls."""

    def __init__(self, studio: Studio, column: str) -> None:
        self.studio, self.column = studio, column
        self.labels = studio.labels(column)

    def concepts(self, words: Sequence[str] | None) -> list[Concept]:
        """The concepts of these words; None: all. Raises ConfigError for a word that the column does not have."""
        known = [Concept.parse(name) for name in self.labels]
        for word in words or ():
            if Concept(self.column, word) not in known:
                raise ConfigError(
                    f"column {self.column!r} has no {word!r}", did_you_mean(word, (one.name for one in known))
                )
        return known if words is None else [Concept(self.column, word) for word in words]

    @cached_property
    def means(self) -> Means:
        """Of every concept, in the order of `labels`."""
        postings = self.studio.material.postings
        groups = np.stack([column == 1 for column in self.labels.values()])
        return means(postings, on_side(postings, groups, SELECT))

    @cached_property
    def gates(self) -> Float64[np.ndarray, "step latent"]:
        """The level that each latent must exceed at each time to be edited."""
        return saeuron.gates(self.means.mean)

    def table(self, concept: Concept, percentile: float) -> LatentTable:
        """The latents of a concept."""
        name = str(concept)
        found = saeuron.tables(
            self.studio.material.postings,
            self.labels,
            percentile=percentile,
            identity=self.studio.sae.identity,
            only=[name],
        )
        return found[name]

    def matched(self, concept: Concept, table: LatentTable) -> LatentTable:
        """As many random latents that fire as often."""
        place = list(self.labels).index(str(concept))
        return matched(table, self.means, place, self.gates, seed=self.studio.material.seed)
