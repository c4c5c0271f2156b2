"""A plug-in of toys, so that configs can be validated without a model."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import Field

from omnisae.plugins import DatasetConfig, ExtractorConfig, hookimpl
from omnisae.testing import plugged_in


class ItemsConfig(DatasetConfig):
    """Items."""

    type: Literal["toy.items"] = "toy.items"
    n: int = Field(3, gt=0, description="how many items")

    def build(self) -> Any:
        raise NotImplementedError


class NetConfig(ExtractorConfig):
    """A net."""

    type: Literal["toy.net"] = "toy.net"
    checkpoint: str = Field("small", description="weights")
    mode: Literal["fast", "slow"] = Field("fast", description="how it runs")

    def build(self, dataset: Any) -> Any:
        raise NotImplementedError


class Toys:
    @staticmethod
    @hookimpl
    def omnisae_extractors() -> list[Any]:
        return [NetConfig]

    @staticmethod
    @hookimpl
    def omnisae_datasets() -> list[Any]:
        return [ItemsConfig]


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    with plugged_in("toy", Toys()):
        yield


@pytest.fixture
def text() -> str:
    return """\
name: shapes
dataset: toy.items
extractor: {type: toy.net, checkpoint: large}
hooks:
  - at: blocks.*
    view: output
autoencoder:
  latents: 1_024
  activation: {type: core.topk, k: 4}
train: {tokens: 100_000, lr: 1e-3}
"""
