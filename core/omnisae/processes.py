"""Which process of a training this is, as torchrun or Lightning Fabric says in the environment. No torch here."""

import os
import time
from collections.abc import Callable

from omnisae.errors import RunError

PATIENCE = 7 * 24 * 3600.0
"""Seconds that a process waits for the first one: extraction at scale takes days."""


def rank() -> int:
    """This process's number among those that train together; 0 where it is alone."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def is_first() -> bool:
    """Whether this process does what is to be done once: all stages but the training itself."""
    return rank() == 0


def wait_until(ready: Callable[[], bool], what: str, poll: float = 0.5, patience: float = PATIENCE) -> None:
    """Wait for the first process. Raises RunError where its work is not there after `patience` seconds."""
    start = time.monotonic()
    while not ready():
        if time.monotonic() - start > patience:
            raise RunError(
                f"process {rank()} waited {patience:.0f} s for {what}", "look at what the first process says"
            )
        time.sleep(poll)
