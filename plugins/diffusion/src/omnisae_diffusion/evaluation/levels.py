"""How strong every latent is for every concept of a column, at every time, on select prompts; tables made of that."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from omnisae.errors import ConfigError, did_you_mean
from omnisae.extract.split import SELECT
from omnisae_diffusion.evaluation.matched import matched, shuffled
from omnisae_diffusion.evaluation.studio import Studio
from omnisae_diffusion.generated import Concept
from omnisae_diffusion.selection import maps, presence, saeuron
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

    @cached_property
    def maps(self) -> maps.Maps:
        """Of every concept, at every time and place."""
        return maps.Maps(self.studio.material.postings, self.labels)

    def map(self, concept: Concept, instead: str | None = None) -> LatentTable:
        """How the concept's codes differ from the others', at every time and place; or the way to another concept's."""
        return self.maps.table(str(concept), identity=self.studio.sae.identity, instead=instead)

    def gated(self, concept: Concept, table: LatentTable) -> LatentTable:
        """The table with a gate, fitted on select prompts."""
        return presence.fitted(table, self.activations, *self.sides(concept, SELECT))

    @cached_property
    def activations(self) -> presence.Means:
        """Every scored example's mean activation at every time."""
        material = self.studio.material
        return presence.mean_activations(material.source, self.studio.sae.info.tokens.select, material.postings.shown)

    def sides(self, concept: Concept, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Examples of one side that ask for the concept, and those that ask for another."""
        postings, column = self.studio.material.postings, self.labels[str(concept)]
        return on_side(postings, column == 1, side), on_side(postings, column == 0, side)

    def control(self, concept: Concept, table: LatentTable) -> LatentTable:
        """Random latents in place of a table's, under the same gate: of one by SAeUron's score as many that fire as
        often, of a map as many moved as far."""
        if table.grid:
            return shuffled(table, self.studio.sae.autoencoder.latents, seed=self.studio.material.seed)
        place = list(self.labels).index(str(concept))
        return matched(table, self.means, place, self.gates, seed=self.studio.material.seed)
