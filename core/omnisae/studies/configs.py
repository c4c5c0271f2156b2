"""The studies that core offers. No torch here: `build` imports what is heavy."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins.component import Component
from omnisae.plugins.kinds import StudyConfig

if TYPE_CHECKING:
    from omnisae.studies.study import Study

Pool = Literal["mean", "max"]


class ProbingConfig(StudyConfig):
    """Sparse probing: how well k latents tell each concept, beside neurons, principal components and full probes."""

    type: Literal["core.probing"] = "core.probing"
    k: tuple[int, ...] = Field((1, 4, 16), min_length=1, description="how many latents a probe may use, each in turn")
    pool: Pool = Field(
        "mean", description="how codes and activations are brought from an example's tokens to one vector"
    )
    concepts: tuple[str, ...] | None = Field(
        None, description="binary concepts of whole examples, or of regions (has one or not); none: all"
    )
    components: int = Field(256, gt=0, description="principal components that probes may choose from, at most")

    def build(self) -> "Study":
        from omnisae.studies.probing import Probing

        return Probing(self.k, self.pool, self.concepts, self.components)


class AgreementConfig(StudyConfig):
    """Agreement between autoencoders: matched decoder rows, and the examples in which matched latents are strongest."""

    type: Literal["core.agreement"] = "core.agreement"
    others: tuple[Path, ...] = Field(
        (), description="artifacts of the same hook point to compare with, beside the run's own other seeds"
    )
    examples: int = Field(16, gt=0, description="strongest examples of a latent that are compared")
    most: int = Field(4096, gt=0, description="living latents that are matched, the most frequent first")

    def build(self) -> "Study":
        from omnisae.studies.agreement import Agreement

        return Agreement(self.others, self.examples, self.most)

    def reads(self) -> Sequence[Path]:
        return self.others


class CorporaConfig(StudyConfig):
    """Two corpora compared, such as generated and natural examples: which latents one lacks, or has too much of."""

    type: Literal["core.corpora"] = "core.corpora"
    column: str = Field(description="the column, or binary concept (no, yes), that tells the corpora apart")
    a: str | None = Field(None, description="its class that is the first corpus; none: the first of two")
    b: str | None = Field(None, description="its class that is the second corpus; none: the second of two")
    least: int = Field(5, gt=0, description="test examples in which a latent must fire to be compared")
    draws: int = Field(200, ge=20, description="bootstrap draws of examples behind each interval")
    permutations: int = Field(99, ge=19, description="shuffles of the corpora behind the control")

    def build(self) -> "Study":
        from omnisae.studies.corpora import Corpora

        return Corpora(self.column, self.a, self.b, self.least, self.draws, self.permutations)


class OutliersConfig(StudyConfig):
    """Out-of-distribution scores from the codes, beside those from the model's own activations."""

    type: Literal["core.outliers"] = "core.outliers"
    column: str = Field(description="the column, or binary concept, that marks outliers")
    outlier: str | None = Field(None, description="its class that holds the outliers; none: `yes` of a binary concept")
    neighbours: int = Field(10, gt=0, description="the control's neighbour whose distance counts")
    pool: Pool = Field("mean", description="how the controls' activations are brought to one vector an example")
    permutations: int = Field(199, ge=19, description="permutations behind each p, and draws behind each interval")

    def build(self) -> "Study":
        from omnisae.studies.outliers import Outliers

        return Outliers(self.column, self.outlier, self.neighbours, self.pool, self.permutations)


class AlignmentConfig(StudyConfig):
    """Alignment with fractions such as votes, and novelty beyond them, beside as many principal components."""

    type: Literal["core.alignment"] = "core.alignment"
    top: int = Field(64, gt=0, description="latents that are looked at, the most frequent first")
    separator: str = Field(
        "_", description="a fraction's name up to its first is its question; empty: each is a question of its own"
    )
    exclude: tuple[str, ...] = Field((), description="beginnings of the names of fractions that are left out")
    pool: Pool = Field("mean", description="how the components' activations are brought to one vector an example")
    permutations: int = Field(199, ge=19, description="permutations of the labels behind each p")

    def build(self) -> "Study":
        from omnisae.studies.alignment import Alignment

        return Alignment(self.top, self.separator, self.exclude, self.pool, self.permutations)


class ConfoundersConfig(StudyConfig):
    """Whether latents follow a confounder, such as the scanner or the site, rather than what they seem to find."""

    type: Literal["core.confounders"] = "core.confounders"
    columns: tuple[str, ...] = Field(
        min_length=1, description="the confounders: columns, concepts of whole examples, or features of the dataset"
    )
    concepts: tuple[str, ...] | None = Field(None, description="concepts whose best latents are looked into; none: all")
    permutations: int = Field(199, ge=19, description="permutations of each confounder behind each p")
    least: float = Field(0.2, ge=0, le=1, description="association from which a latent may be said to follow")
    q: float = Field(0.05, gt=0, lt=1, description="share of false discoveries that is allowed")
    strata: int = Field(4, ge=2, description="quantile strata of a confounder that is a number")

    def build(self) -> "Study":
        from omnisae.studies.confounders import Confounders

        return Confounders(self.columns, self.concepts, self.permutations, self.least, self.q, self.strata)


COMPONENTS: tuple[type[Component], ...] = (
    ProbingConfig,
    AgreementConfig,
    CorporaConfig,
    OutliersConfig,
    AlignmentConfig,
    ConfoundersConfig,
)
