"""It has a name that another distribution has too."""

from typing import Literal

from omnisae.plugins import ExtractorConfig, hookimpl


class NetConfig(ExtractorConfig):
    """A net."""

    type: Literal["twin.net"] = "twin.net"

    def build(self, dataset):
        raise NotImplementedError


@hookimpl
def omnisae_extractors():
    return [NetConfig]
