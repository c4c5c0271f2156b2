"""It takes core's name."""

from typing import Literal

from omnisae.plugins import ExtractorConfig, hookimpl


class NetConfig(ExtractorConfig):
    """A net."""

    type: Literal["core.net"] = "core.net"

    def build(self, dataset):
        raise NotImplementedError


@hookimpl
def omnisae_extractors():
    return [NetConfig]
