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
    generators = _generators(device)
    before = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(_seed(seed, step))
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


def _generators(device: torch.device) -> list[torch.Generator]:
    """The default generators of the host and the device. (`torch.manual_seed` queues a stack trace at every call.)"""
    if device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]


def _seed(seed: int, step: int) -> int:
    """63 well mixed bits: neighbouring seeds and steps share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{step}".encode()).digest()[:8], "little") >> 1
