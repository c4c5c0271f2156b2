"""The visualizers that core offers."""
