"""It wants a newer version of what is installed."""

from typing import Literal

from omnisae.plugins import ExtractorConfig, hookimpl


class NetConfig(ExtractorConfig):
    """A net."""

    type: Literal["dated.net"] = "dated.net"

    def build(self, dataset):
        raise NotImplementedError


@hookimpl
def omnisae_extractors():
    return [NetConfig]
