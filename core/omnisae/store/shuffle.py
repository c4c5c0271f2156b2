"""Permutations that depend on a seed alone: not on the machine, its number of cores, or numpy's version."""

import numpy as np
from jaxtyping import Int

BLOCKS, ROWS = 0, 1
"""What is permuted: the blocks of an epoch, or the rows of a pool."""


def permutation(n: int, seed: int, what: int, epoch: int, pool: int = 0) -> Int[np.ndarray, " n"]:
    """A uniform permutation of 0 … n−1.

    The items are sorted by 48 random bits from a Philox counter (Salmon et al. 2011), whose stream numpy keeps fixed,
    by three stable passes over 16 bits each: such passes run in linear time, and ties fall the same way everywhere.
    """
    key = np.array([seed & 0xFFFF_FFFF_FFFF_FFFF, what], dtype=np.uint64)
    counter = np.array([0, 0, pool, epoch], dtype=np.uint64)
    bits = np.random.Philox(key=key, counter=counter).random_raw(n)
    digits = np.ascontiguousarray(bits.astype("<u8").view("<u2").reshape(n, 4).T)
    order = np.argsort(digits[0], kind="stable")
    for digit in digits[1:3]:
        order = order[np.argsort(digit[order], kind="stable")]
    return order


def gather_by_batch(order: Int[np.ndarray, " row"], start: int, batch: int) -> Int[np.ndarray, " row"]:
    """The same rows in the same batches, in each batch sorted by where they stand on disk.

    `order[j]` is the row at position `start + j` of the stream. Rows of one block then lie side by side in each batch,
    which halves the time of writing them there; which batch a row falls into is what was random, and still is.
    """
    label = (np.arange(start % batch, start % batch + len(order)) // batch).astype(np.int64)
    if len(order) == 0 or label[-1] > 0xFFFF:
        return order
    of_row = np.empty(len(order), dtype=np.uint16)
    of_row[order] = label
    return np.argsort(of_row, kind="stable")
