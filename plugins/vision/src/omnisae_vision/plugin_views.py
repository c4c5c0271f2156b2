"""Drawings and edits of places in pictures that this plug-in offers. No torch here: `build` imports what is heavy."""

from omnisae.plugins.kinds import StudyConfig, VisualizerConfig
from omnisae_vision.views.configs import VISUALIZERS as DRAWINGS

VISUALIZERS: tuple[type[VisualizerConfig], ...] = DRAWINGS
EDIT_STUDIES: tuple[type[StudyConfig], ...] = ()
