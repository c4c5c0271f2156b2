"""The kinds of component a plug-in may offer. Each config builds its part, and imports what is heavy only then."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, SerializeAsAny

from omnisae.plugins.component import Component, by_type

if TYPE_CHECKING:
    from omnisae.autoencoders.activation import Activation
    from omnisae.autoencoders.dictionary import Dictionary
    from omnisae.autoencoders.loss import Penalty
    from omnisae.autoencoders.nesting import Nesting
    from omnisae.autoencoders.normaliser import Normaliser
    from omnisae.concepts.metric import Metric
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor
    from omnisae.interventions.operation import Operation
    from omnisae.report.visualizer import Visualizer
    from omnisae.studies.explainer import Explainer
    from omnisae.studies.study import Study


class ExtractorConfig(Component):
    """A frozen model and the hook points it exposes."""

    kind: ClassVar[str] = "extractor"
    hook: ClassVar[str] = "omnisae_extractors"

    @abstractmethod
    def build(self, dataset: "Dataset") -> "Extractor":
        """The extractor. `dataset` is at hand for models that are read from it, such as precomputed tables."""


class DatasetConfig(Component):
    """A source of examples and of their annotations."""

    kind: ClassVar[str] = "dataset"
    hook: ClassVar[str] = "omnisae_datasets"

    @abstractmethod
    def build(self) -> "Dataset": ...


class AutoencoderPartConfig(Component):
    """A part of an autoencoder; see the five kinds below."""

    kind: ClassVar[str] = "autoencoder part"
    hook: ClassVar[str] = "omnisae_autoencoders"


class ActivationConfig(AutoencoderPartConfig):
    """An activation rule: which latents of a token fire."""

    kind: ClassVar[str] = "activation rule"

    @abstractmethod
    def build(self, latents: int) -> "Activation": ...


class DecoderConfig(AutoencoderPartConfig):
    """What the decoder's rows are made of."""

    kind: ClassVar[str] = "decoder"

    @abstractmethod
    def build(self, latents: int, width: int, unit_norm: bool) -> "Dictionary | None":
        """What makes the rows, which are brought to norm one afterwards where `unit_norm` holds: a scale of its own
        would be lost then. None: the rows are parameters of their own.
        """


class NestingConfig(AutoencoderPartConfig):
    """A nesting of dictionaries, such as Matryoshka prefixes."""

    kind: ClassVar[str] = "nesting"

    @abstractmethod
    def build(self, latents: int) -> "Nesting": ...


class NormaliserConfig(AutoencoderPartConfig):
    """How activations are brought to a common scale before encoding."""

    kind: ClassVar[str] = "normaliser"

    @abstractmethod
    def build(self, width: int) -> "Normaliser": ...


class PenaltyConfig(AutoencoderPartConfig):
    """A term of the loss beside the reconstruction."""

    kind: ClassVar[str] = "penalty"

    @abstractmethod
    def build(self, latents: int, width: int) -> "Penalty": ...


class MetricConfig(Component):
    """Agreement between latents and concepts: chosen on the select split, scored on the test split."""

    kind: ClassVar[str] = "metric"
    hook: ClassVar[str] = "omnisae_metrics"

    @abstractmethod
    def build(self) -> "Metric": ...


class StudyConfig(Component):
    """A question about a whole autoencoder, or about every latent, beyond pairs of a latent and a concept."""

    kind: ClassVar[str] = "study"
    hook: ClassVar[str] = "omnisae_studies"

    name: str | None = Field(
        None,
        min_length=1,
        description="what tells it from another of its kind in the run; stands behind its title",
    )

    @abstractmethod
    def build(self) -> "Study": ...

    def reads(self) -> Sequence[Path]:
        """The files beside the run's own on which the answer depends: where one changes, the study is asked again."""
        return ()


class ExplainerConfig(Component):
    """What turns a latent's strongest texts into a phrase."""

    kind: ClassVar[str] = "explainer"
    hook: ClassVar[str] = "omnisae_explainers"

    @abstractmethod
    def build(self) -> "Explainer": ...


class VisualizerConfig(Component):
    """A drawing of one latent, matched by the axes of its tokens."""

    kind: ClassVar[str] = "visualizer"
    hook: ClassVar[str] = "omnisae_visualizers"

    @abstractmethod
    def build(self) -> "Visualizer": ...


class InterventionConfig(Component):
    """An operation on codes, by which an artifact edits its model."""

    kind: ClassVar[str] = "intervention"
    hook: ClassVar[str] = "omnisae_interventions"

    @abstractmethod
    def build(self) -> "Operation": ...


KINDS: tuple[type[Component], ...] = (
    ExtractorConfig,
    DatasetConfig,
    ActivationConfig,
    DecoderConfig,
    NestingConfig,
    NormaliserConfig,
    PenaltyConfig,
    MetricConfig,
    StudyConfig,
    ExplainerConfig,
    VisualizerConfig,
    InterventionConfig,
)

ExtractorByType = Annotated[ExtractorConfig, SerializeAsAny(), by_type(ExtractorConfig)]
DatasetByType = Annotated[DatasetConfig, SerializeAsAny(), by_type(DatasetConfig)]
ActivationByType = Annotated[ActivationConfig, SerializeAsAny(), by_type(ActivationConfig)]
DecoderByType = Annotated[DecoderConfig, SerializeAsAny(), by_type(DecoderConfig)]
NestingByType = Annotated[NestingConfig, SerializeAsAny(), by_type(NestingConfig)]
NormaliserByType = Annotated[NormaliserConfig, SerializeAsAny(), by_type(NormaliserConfig)]
PenaltyByType = Annotated[PenaltyConfig, SerializeAsAny(), by_type(PenaltyConfig)]
MetricByType = Annotated[MetricConfig, SerializeAsAny(), by_type(MetricConfig)]
StudyByType = Annotated[StudyConfig, SerializeAsAny(), by_type(StudyConfig)]
ExplainerByType = Annotated[ExplainerConfig, SerializeAsAny(), by_type(ExplainerConfig)]
VisualizerByType = Annotated[VisualizerConfig, SerializeAsAny(), by_type(VisualizerConfig)]
"""Config fields of these kinds, found by their `type`."""
