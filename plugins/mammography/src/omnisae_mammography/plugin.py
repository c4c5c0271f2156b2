"""What this plug-in offers. No torch here: `build` imports what is heavy."""

from omnisae.plugins.hookspecs import hookimpl
from omnisae.plugins.kinds import DatasetConfig


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    return []
