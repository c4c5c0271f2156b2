"""It imports, and its dependency is missing."""

from typing import Literal

from omnisae.plugins import ExtractorConfig, hookimpl


class NetConfig(ExtractorConfig):
    """A net."""

    type: Literal["needy.net"] = "needy.net"

    def build(self, dataset):
        raise NotImplementedError


@hookimpl
def omnisae_extractors():
    return [NetConfig]
