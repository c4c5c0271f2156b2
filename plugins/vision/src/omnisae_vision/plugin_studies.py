"""Studies that this plug-in offers. No torch here: `build` imports what is heavy."""

from omnisae.plugins.kinds import StudyConfig

STUDIES: tuple[type[StudyConfig], ...] = ()
