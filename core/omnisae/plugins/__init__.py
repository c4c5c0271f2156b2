"""What a plug-in is written with: the hook marker, the kinds of component, and the registry that finds them."""

from omnisae.plugins.component import Component, by_type
from omnisae.plugins.hookspecs import hookimpl
from omnisae.plugins.kinds import (
    ActivationConfig,
    AutoencoderPartConfig,
    DatasetConfig,
    DecoderConfig,
    ExplainerConfig,
    ExtractorConfig,
    InterventionConfig,
    MetricConfig,
    NestingConfig,
    NormaliserConfig,
    PenaltyConfig,
    StudyConfig,
    VisualizerConfig,
)

__all__ = [
    "ActivationConfig",
    "AutoencoderPartConfig",
    "Component",
    "DatasetConfig",
    "DecoderConfig",
    "ExplainerConfig",
    "ExtractorConfig",
    "InterventionConfig",
    "MetricConfig",
    "NestingConfig",
    "NormaliserConfig",
    "PenaltyConfig",
    "StudyConfig",
    "VisualizerConfig",
    "by_type",
    "hookimpl",
]
