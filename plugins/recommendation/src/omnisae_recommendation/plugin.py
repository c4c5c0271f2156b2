"""What the recommendation plug-in offers. No torch here: `build` imports what is heavy."""

from omnisae.plugins import DatasetConfig, ExtractorConfig, hookimpl
from omnisae_recommendation.plugin_datasets import DATASETS
from omnisae_recommendation.plugin_models import MODELS


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    return DATASETS


@hookimpl
def omnisae_extractors() -> list[type[ExtractorConfig]]:
    return MODELS
