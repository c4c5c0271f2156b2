"""Its hook wants an argument that there is not."""

from omnisae.plugins import hookimpl


@hookimpl
def omnisae_extractors(device):
    return []
