"""Splits: which examples train the autoencoder, which choose, which test. Groups never fall on two sides."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.dataset import Dataset

TRAIN, SELECT, TEST = 0, 1, 2
NAMES = ("train", "select", "test")


def assign(
    dataset: Dataset, *, by: str = "example", train: float = 0.5, select: float = 0.5, seed: int = 0
) -> UInt8[np.ndarray, " example"]:
    """The split of every example: TRAIN, SELECT or TEST.

    `train` is the share of the groups that train; of the others, `select` is the share that choose. Groups are ordered
    by a hash of their name and the seed, so that the split does not depend on the order of the examples.
    Raises DatasetError where too few groups are there for three sides, ConfigError where `by` would divide a group
    that the dataset says must stay whole.
    """
    groups: Sequence[str] = dataset.ids if by == "example" else dataset.groups(by)
    _keep_whole(dataset, by, groups)
    names = sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    if len(names) < 3:
        raise DatasetError(
            f"the dataset has {len(names)} group(s) by {by!r}; three are needed to train, select and test",
            "add examples, or split by another column (score.split.by)",
        )
    first = min(max(round(len(names) * train), 1), len(names) - 2)
    second = min(max(first + round((len(names) - first) * select), first + 1), len(names) - 1)
    side = {name: TRAIN if i < first else SELECT if i < second else TEST for i, name in enumerate(names)}
    return np.array([side[name] for name in groups], dtype=np.uint8)


def _keep_whole(dataset: Dataset, by: str, groups: Sequence[str]) -> None:
    """Refuse a split whose groups divide those that the dataset says must stay whole. Their names are not told."""
    whole = dataset.must_split_by()
    if whole is None or whole == by:
        return
    home: dict[str, str] = {}
    divided = {
        name for name, group in zip(dataset.groups(whole), groups, strict=True) if home.setdefault(name, group) != group
    }
    if divided:
        raise ConfigError(
            f"score.split.by: {by!r} would put examples of one {whole} on two sides: {len(divided)} of {len(home)} "
            f"{whole} groups have examples in several groups by {by!r}",
            f"split by {whole!r}, or by a column whose groups hold each {whole} whole",
        )
