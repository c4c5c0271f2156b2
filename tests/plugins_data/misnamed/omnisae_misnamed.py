"""Its components break every rule of naming."""

from typing import Literal

from pydantic import ConfigDict

from omnisae.plugins import ActivationConfig, DatasetConfig, ExtractorConfig, hookimpl


class OtherConfig(ExtractorConfig):
    type: Literal["other.net"] = "other.net"

    def build(self, dataset): ...


class PlainConfig(ExtractorConfig):
    type: str = "misnamed.plain"

    def build(self, dataset): ...


class UnsetConfig(ExtractorConfig):
    type: Literal["misnamed.unset"]

    def build(self, dataset): ...


class LaxConfig(ExtractorConfig):
    model_config = ConfigDict(extra="allow")
    type: Literal["misnamed.lax"] = "misnamed.lax"

    def build(self, dataset): ...


class BareConfig(ExtractorConfig):
    type: Literal["misnamed.bare"] = "misnamed.bare"


class OneConfig(DatasetConfig):
    type: Literal["misnamed.same"] = "misnamed.same"

    def build(self): ...


class TwoConfig(DatasetConfig):
    type: Literal["misnamed.same"] = "misnamed.same"

    def build(self): ...


class RuleConfig(ActivationConfig):
    type: Literal["misnamed.rule"] = "misnamed.rule"

    def build(self, latents): ...


@hookimpl
def omnisae_extractors():
    return [OtherConfig, PlainConfig, UnsetConfig, LaxConfig, BareConfig, RuleConfig, int, "net"]


@hookimpl
def omnisae_datasets():
    return [OneConfig, TwoConfig, OneConfig()]
