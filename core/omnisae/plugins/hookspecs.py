"""The hooks a plug-in may implement. Each is a plural noun that returns config classes; none decides for the others."""

from collections.abc import Iterable, Mapping
from typing import Any

import pluggy

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

PROJECT = "omnisae"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def omnisae_extractors() -> Iterable[type[ExtractorConfig]]:  # type: ignore[empty-body]
    """Frozen models and the hook points they expose."""


@hookspec
def omnisae_datasets() -> Iterable[type[DatasetConfig]]:  # type: ignore[empty-body]
    """Sources of examples and of their annotations."""


@hookspec
def omnisae_autoencoders() -> Iterable[type[AutoencoderPartConfig]]:  # type: ignore[empty-body]
    """Parts of autoencoders: activation rules, decoders, nestings, normalisers, penalties."""


@hookspec
def omnisae_metrics() -> Iterable[type[MetricConfig]]:  # type: ignore[empty-body]
    """Agreement between latents and concepts."""


@hookspec
def omnisae_studies() -> Iterable[type[StudyConfig]]:  # type: ignore[empty-body]
    """Questions about a whole autoencoder, or about every latent."""


@hookspec
def omnisae_explainers() -> Iterable[type[ExplainerConfig]]:  # type: ignore[empty-body]
    """What turns a latent's strongest texts into a phrase."""


@hookspec
def omnisae_visualizers() -> Iterable[type[VisualizerConfig]]:  # type: ignore[empty-body]
    """Drawings of one latent."""


@hookspec
def omnisae_interventions() -> Iterable[type[InterventionConfig]]:  # type: ignore[empty-body]
    """Operations on codes by which an artifact edits its model."""


@hookspec
def omnisae_observe(event: Mapping[str, Any]) -> None:
    """Follow a run.

    `event` has `event` (`stage_started`, `stage_skipped`, `step`, `stage_finished`), `run`, and its figures.
    """
