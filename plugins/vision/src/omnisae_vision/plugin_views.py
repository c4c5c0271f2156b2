"""Drawings of latents that this plug-in offers. No torch here: `build` imports what is heavy."""

from omnisae.plugins.kinds import VisualizerConfig

VISUALIZERS: tuple[type[VisualizerConfig], ...] = ()
