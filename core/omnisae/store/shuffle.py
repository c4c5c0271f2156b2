"""Permutations that depend on a seed alone: not on the machine, its number of cores, or numpy's version."""

import numpy as np
from jaxtyping import Int

BLOCKS, ROWS = 0, 1
"""What is permuted: the blocks of an epoch, or the rows of a pool."""


def permutation(n: int, seed: int, what: int, epoch: int, pool: int = 0) -> Int[np.ndarray, " n"]:
    """A random permutation of 0 … n−1.

    The items are sorted by 32 random bits each from a Philox counter (Salmon et al. 2011), whose stream numpy keeps
    fixed, by two stable passes over 16 bits: such passes run in linear time and give the same everywhere. The few items
    that tie (one pair in 65,536 items) keep their order.
    """
    key = np.array([seed & 0xFFFF_FFFF_FFFF_FFFF, what], dtype=np.uint64)
    counter = np.array([0, 0, pool, epoch], dtype=np.uint64)
    bits = np.random.Philox(key=key, counter=counter).random_raw(n // 2 + 1)
    digits = np.ascontiguousarray(bits.astype("<u8", copy=False).view("<u2").reshape(-1, 2)[:n].T)
    order = np.argsort(digits[0], kind="stable")
    return order[np.argsort(digits[1][order], kind="stable")]


def gather_by_batch(order: Int[np.ndarray, " row"], start: int, batch: int) -> Int[np.ndarray, " row"]:
    """The same rows in the same batches, in each batch sorted by where they stand on disk.

    `order[j]` is the row at position `start + j` of the stream. Rows of one block then lie side by side in each batch,
    which halves the time of writing them there; which batch a row falls into is what was random, and still is.
    """
    into = start % batch
    batches = -(-(into + len(order)) // batch)
    if batches > 0x10000:
        return order
    label = np.repeat(np.arange(batches, dtype=np.uint16), batch)[into : into + len(order)]
    of_row = np.empty(len(order), dtype=np.uint16)
    of_row[order] = label
    return np.argsort(of_row, kind="stable")
