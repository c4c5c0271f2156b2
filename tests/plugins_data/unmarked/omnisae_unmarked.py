"""It forgets to mark its hook."""


def omnisae_extractors():
    return []
