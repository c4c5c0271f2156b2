"""Studies: what is asked of a whole autoencoder, or of every latent, beyond pairs of a latent and a concept."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.figure import Figure

if TYPE_CHECKING:
    from omnisae.concepts.annotations import Annotations
    from omnisae.concepts.level import Level
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor
    from omnisae.postings.postings import Postings
    from omnisae.store.source import TokenSource

Kind = Literal["share", "signed", "count", "raw", "chance", "text"]
"""How a report writes a number: as a share of 1, with its sign, as a whole number, as it is, as a probability."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One number, measured on TEST examples, beside its control.

    `n` counts what it was measured on. `control` is the same number of what an honest claim is compared with, `against`
    says of what; `low` and `high` bound its 95 % interval, `p` is its chance under the null; NaN where there is none.
    """

    name: str
    value: float
    n: int
    control: float = float("nan")
    against: str = ""
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    kind: Kind = "raw"
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One value a posting list (a latent; where codes are signed, a pole), NaN (or "") where it does not apply.

    It becomes a column of the latent table and a line of each latent's page. `note` says what it means, in a sentence.
    """

    name: str
    values: Float[np.ndarray, " list"] | Sequence[str]
    note: str
    kind: Kind = "raw"


@dataclass(frozen=True)
class Findings:
    """What a study found. `notes` are sentences that a reader should know; `warnings` stand on the overview, too.

    `tables` are what does not fit a line of numbers: heading to rows of equal keys, as the page shows them.
    """

    findings: Sequence[Finding] = ()
    measures: Sequence[Measure] = ()
    figures: Sequence[Figure] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Material:
    """All that a study may look at.

    `source` gives the activations of the hook point, of all examples. `artifact` is the artifact's folder: `Artifact`
    or, to edit the model, `SAE` load it. `table` holds the columns of the concept table (concepts.parquet), rows of one
    concept in the order of their rank on SELECT, `list` the posting list of each row among them; `levels` the labels
    behind it. `siblings` are the artifacts of the same hook point and config that differ by their seed alone. `seed` is
    the split's. `folder` is where a study may keep what is costly to make anew. `groups` numbers each example's group
    by `score.split.by`: what is drawn or permuted by chance goes by whole groups. None: every example is its own.
    `artifacts` are the run's first artifact at every hook point, by its name.
    """

    postings: "Postings"
    source: "TokenSource"
    dataset: "Dataset"
    extractor: "Extractor"
    artifact: Path
    levels: "Sequence[Level]"
    table: Mapping[str, np.ndarray]
    siblings: Sequence[Path]
    seed: int
    folder: Path
    groups: Int[np.ndarray, " example"] | None = None
    artifacts: Mapping[str, Path] = field(default_factory=dict)

    def rows(self, side: int) -> np.ndarray:
        """The dataset's rows of the encoded examples on one side of the split (extract.split: SELECT or TEST)."""
        return self.postings.examples_of(side)

    @cached_property
    def strengths(self) -> Any:
        """Each posting list's largest value in every example of the dataset: a sparse matrix, example × list (scipy
        CSC); TRAIN examples and silent ones have none.
        """
        from omnisae.studies.pooled import strengths

        return strengths(self.postings)

    @cached_property
    def means(self) -> Any:
        """Each posting list's mean value over the encoded tokens of every example, as `strengths`."""
        from omnisae.studies.pooled import means

        return means(self.postings)

    @cached_property
    def annotations(self) -> "Annotations":
        """What is known of the examples, in the dataset's order. Raises DatasetError where no id joins."""
        from omnisae.concepts.level import aligned

        return aligned(self.dataset)[0]

    def activations(self, rows: np.ndarray, pool: Literal["mean", "max"] = "mean") -> Float[np.ndarray, "row width"]:
        """The model's own activations of these examples, pooled over the tokens that were encoded, fp32, in the order
        of `rows`; NaN where an example has no token.
        """
        from omnisae.studies.pooled import activations

        return activations(self.source, self.postings, rows, pool)

    def known(self, concept: str) -> Float[np.ndarray, " example"]:
        """A whole-example concept's labels over the dataset: 0, 1, a fraction, or NaN. Raises KeyError."""
        return np.asarray(self.annotations.labels[concept], dtype=np.float64)

    def mask(self, rows: np.ndarray) -> Bool[np.ndarray, " example"]:
        """Rows as a mask over the dataset."""
        out = np.zeros(self.postings.n_examples, dtype=bool)
        out[rows] = True
        return out


class Study(ABC):
    """Asks one question. Whatever is chosen, is chosen on SELECT; whatever is told, is measured on TEST, where the
    question has two such sides.
    """

    title: ClassVar[str]
    """The question, as a heading."""
    about: ClassVar[str] = ""
    """How it is answered, with its source, in a sentence or two."""

    @abstractmethod
    def study(self, material: Material) -> Findings:
        """The answer. Raises an OmnisaeError where the material does not allow one: the report then says so, and the
        other studies go on."""
