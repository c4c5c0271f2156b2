"""The scaffold: a new plug-in's distribution, which installs, passes its own tests and runs."""

from omnisae.scaffold.create import create, files

__all__ = ["create", "files"]
