"""Its hook has a name that omnisae does not know."""

from omnisae.plugins import hookimpl


@hookimpl
def omnisae_extractor():
    return []
