"""It wraps the hooks of others."""

from omnisae.plugins.hookspecs import hookimpl


@hookimpl(wrapper=True)
def omnisae_extractors():
    result = yield
    return result
