"""It imports torch too early."""

from typing import Literal

import torch  # noqa: F401

from omnisae.plugins import ExtractorConfig, hookimpl


class NetConfig(ExtractorConfig):
    """A net."""

    type: Literal["heavy.net"] = "heavy.net"

    def build(self, dataset):
        raise NotImplementedError


@hookimpl
def omnisae_extractors():
    return [NetConfig]
