"""It raises while it follows a run."""

from omnisae.plugins import hookimpl


@hookimpl
def omnisae_observe():
    raise OSError("the line is dead")
