"""Nothing is wrong with this one."""

from typing import Literal

from pydantic import Field

from omnisae.plugins import DatasetConfig, ExtractorConfig, hookimpl


class NetConfig(ExtractorConfig):
    """A net."""

    type: Literal["good.net"] = "good.net"
    checkpoint: str = Field("small", description="weights")

    def build(self, dataset):
        raise NotImplementedError


class ItemsConfig(DatasetConfig):
    """Some items."""

    type: Literal["good.items"] = "good.items"
    n: int = Field(gt=0, description="how many")

    def build(self):
        raise NotImplementedError


@hookimpl
def omnisae_extractors():
    yield NetConfig


@hookimpl
def omnisae_datasets():
    return (ItemsConfig,)
