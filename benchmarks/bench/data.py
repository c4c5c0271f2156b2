"""The data of a benchmark: sparse sums of planted directions, written once, mapped into every contestant's memory."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DIRECTIONS, ACTIVE = 4096, 20
TRAIN, HELD_OUT, TRUTH = "train.npy", "held_out.npy", "truth.npy"
CHUNK = 16_384


def write(folder: Path, rows: int, width: int, held_out: int, seed: int = 0) -> Path:
    """`rows` tokens to train on and `held_out` more to judge by, of `omnisae.testing.planted`'s distribution.

    `planted` itself ranks tokens × directions random numbers to choose the active ones, 4 GB for 262,144 tokens; here
    they are drawn and, where a token drew one twice, drawn again, which is the same distribution in a second.
    """
    from omnisae.testing.planted import planted

    folder.mkdir(parents=True, exist_ok=True)
    truth = planted(width, DIRECTIONS, ACTIVE, 1, seed)[1]
    generator = torch.Generator().manual_seed(seed + 1)
    np.save(folder / TRUTH, truth.numpy())
    for name, tokens in ((TRAIN, rows), (HELD_OUT, held_out)):
        file = np.lib.format.open_memmap(folder / name, "w+", np.float32, (tokens, width))
        for start in range(0, tokens, CHUNK):
            file[start : start + CHUNK] = _tokens(truth, min(CHUNK, tokens - start), generator).numpy()
        file.flush()
    return folder


def _tokens(truth: Tensor, tokens: int, generator: torch.Generator) -> Tensor:
    chosen = torch.randint(DIRECTIONS, (tokens, ACTIVE), generator=generator)
    while len(again := _with_repeats(chosen)):
        chosen[again] = torch.randint(DIRECTIONS, (len(again), ACTIVE), generator=generator)
    coefficients = 0.5 + torch.rand(tokens, ACTIVE, generator=generator)
    return torch.nn.functional.embedding_bag(chosen, truth, per_sample_weights=coefficients, mode="sum")


def _with_repeats(chosen: Tensor) -> Tensor:
    ordered = chosen.sort(dim=1).values
    return (ordered[:, 1:] == ordered[:, :-1]).any(dim=1).nonzero()[:, 0]


def read(folder: Path, name: str) -> Tensor:
    """A file of the folder, mapped and touched, so that its pages are resident before anything is measured."""
    # Copy on write: torch warns of arrays that it may not write to, and nobody here writes.
    tensor = torch.from_numpy(np.load(folder / name, mmap_mode="c"))
    tensor.sum()
    return tensor
