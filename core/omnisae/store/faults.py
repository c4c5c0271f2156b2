"""What may be wrong with a shard, said the same way everywhere. No torch here."""

from collections.abc import Sequence
from pathlib import Path

from omnisae.errors import StoreError

REMEDY = "restore the shard from a copy, or delete the store's folder and extract again"


def truncated(path: Path) -> StoreError:
    """The error for a shard that is shorter than it should be."""
    return StoreError(f"{path}: this shard is truncated: it ends before its last row", REMEDY)


def missing(path: Path) -> StoreError:
    """The error for a shard that is not there."""
    return StoreError(f"{path}: this shard is missing, and the manifest lists it", REMEDY)


def altered(places: Sequence[str | Path]) -> StoreError:
    """The error for shards whose checksum is not the manifest's."""
    names = ", ".join(str(place) for place in places)
    return StoreError(f"{names}: altered: the checksum (SHA-256) is not the one in the manifest", REMEDY)
