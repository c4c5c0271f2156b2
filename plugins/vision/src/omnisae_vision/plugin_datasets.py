"""Datasets of pictures beside the image folder. No torch here: `build` imports what is heavy."""

from omnisae.plugins.kinds import DatasetConfig

DATASETS: tuple[type[DatasetConfig], ...] = ()
