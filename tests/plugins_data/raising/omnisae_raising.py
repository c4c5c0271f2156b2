"""Its hooks raise, one of them late."""

from omnisae.plugins import hookimpl


@hookimpl
def omnisae_extractors():
    raise RuntimeError("no licence")


@hookimpl
def omnisae_datasets():
    yield 3
    raise KeyError("late")
