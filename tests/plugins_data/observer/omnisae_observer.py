"""It follows runs."""

from omnisae.plugins import hookimpl

heard = []


@hookimpl
def omnisae_observe(event):
    heard.append(event)
