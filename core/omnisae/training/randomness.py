"""Randomness of a job's own, so that no job's result depends on what else is trained beside it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_randomness(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators from the job's seed and the step, and put them back afterwards.

    Nothing has to be saved for a resume: the step says it all. Every process of a distributed training draws the same.
    """
    cards = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.manual_seed(_seed(seed, step))
        yield


def _seed(seed: int, step: int) -> int:
    """63 well mixed bits: neighbouring seeds and steps share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{step}".encode()).digest()[:8], "little") >> 1
