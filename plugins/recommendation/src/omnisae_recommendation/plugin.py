"""What the recommendation plug-in offers. No torch here: `build` imports what is heavy."""

from omnisae.plugins import DatasetConfig, ExtractorConfig, StudyConfig, VisualizerConfig, hookimpl
from omnisae_recommendation.plugin_datasets import DATASETS
from omnisae_recommendation.plugin_models import MODELS
from omnisae_recommendation.plugin_studies import STUDIES
from omnisae_recommendation.plugin_views import VIEWS


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    return DATASETS


@hookimpl
def omnisae_extractors() -> list[type[ExtractorConfig]]:
    return MODELS


@hookimpl
def omnisae_studies() -> list[type[StudyConfig]]:
    return STUDIES


@hookimpl
def omnisae_visualizers() -> list[type[VisualizerConfig]]:
    return VIEWS
