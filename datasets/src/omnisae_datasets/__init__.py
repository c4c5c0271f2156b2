"""Small worlds with known truth, written in each field's own file formats, and small models trained on them."""

from omnisae_datasets.worlds import WORLDS, checkpoint, find, resolve

__all__ = ["WORLDS", "checkpoint", "find", "resolve"]
