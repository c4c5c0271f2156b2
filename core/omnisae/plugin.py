"""Core's own plug-in: it comes in by the same door as everybody's."""

from collections.abc import Iterable
from typing import Any

from omnisae.plugins.component import Component
from omnisae.plugins.hookspecs import hookimpl
from omnisae.plugins.kinds import (
    AutoencoderPartConfig,
    DatasetConfig,
    ExplainerConfig,
    ExtractorConfig,
    InterventionConfig,
    MetricConfig,
    StudyConfig,
    VisualizerConfig,
)


def _of(base: type[Component], components: Iterable[type[Component]]) -> list[Any]:
    return [component for component in components if issubclass(component, base)]


@hookimpl
def omnisae_extractors() -> list[type[ExtractorConfig]]:
    from omnisae.extract.configs import COMPONENTS

    return _of(ExtractorConfig, COMPONENTS)


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    from omnisae.extract.configs import COMPONENTS

    return _of(DatasetConfig, COMPONENTS)


@hookimpl
def omnisae_autoencoders() -> list[type[AutoencoderPartConfig]]:
    from omnisae.autoencoders.configs import COMPONENTS

    return _of(AutoencoderPartConfig, COMPONENTS)


@hookimpl
def omnisae_metrics() -> list[type[MetricConfig]]:
    from omnisae.concepts.configs import COMPONENTS

    return _of(MetricConfig, COMPONENTS)


@hookimpl
def omnisae_studies() -> list[type[StudyConfig]]:
    from omnisae.studies.configs import COMPONENTS

    return _of(StudyConfig, COMPONENTS)


@hookimpl
def omnisae_explainers() -> list[type[ExplainerConfig]]:
    from omnisae.studies.explainers.configs import COMPONENTS

    return _of(ExplainerConfig, COMPONENTS)


@hookimpl
def omnisae_visualizers() -> list[type[VisualizerConfig]]:
    from omnisae.report.configs import COMPONENTS

    return _of(VisualizerConfig, COMPONENTS)


@hookimpl
def omnisae_interventions() -> list[type[InterventionConfig]]:
    from omnisae.interventions.configs import COMPONENTS

    return _of(InterventionConfig, COMPONENTS)
