"""Drawings and edits of places in pictures that this plug-in offers. No torch here: `build` imports what is heavy."""

from omnisae.plugins.kinds import StudyConfig, VisualizerConfig

VISUALIZERS: tuple[type[VisualizerConfig], ...] = ()
EDIT_STUDIES: tuple[type[StudyConfig], ...] = ()
