"""It was written for another omnisae."""

from omnisae.plugins import TimeMachine  # noqa: F401
