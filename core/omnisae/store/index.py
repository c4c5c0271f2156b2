"""Which rows of a store a stream visits: the kept rows of each block, one bit a row."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from omnisae.errors import StoreError
from omnisae.tokens.filter import TokenFilter

if TYPE_CHECKING:
    from omnisae.store.store import Store

BLOCK = 1024
"""Rows of a block: what is read from the disk in one piece. No block lies in two shards."""

_AT_ONCE = 64 * BLOCK


@dataclass(frozen=True)
class Index:
    """The blocks of a store, in file order, and their kept rows; `bits` is None where all are kept."""

    shard: Int[np.ndarray, " block"]
    start: Int[np.ndarray, " block"]
    rows: Int[np.ndarray, " block"]
    kept: Int[np.ndarray, " block"]
    bits: UInt8[np.ndarray, "block byte"] | None

    def rows_of(self, blocks: Int[np.ndarray, " block"]) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " block"]]:
        """The kept rows of ascending blocks, as block × BLOCK + row in the block, and how many there are up to each."""
        if self.bits is None and (self.rows[blocks] == BLOCK).all():
            rows = (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
        elif self.bits is None:
            rows = np.concatenate([block * BLOCK + np.arange(self.rows[block]) for block in blocks])
        else:
            found = np.flatnonzero(np.unpackbits(self.bits[blocks], axis=1))
            rows = blocks[found // BLOCK] * BLOCK + found % BLOCK
        return rows, np.cumsum(self.kept[blocks])


def build_index(store: "Store", keep: TokenFilter, examples: Bool[np.ndarray, " example"] | None) -> Index:
    """One pass over the narrow columns of the store. Raises StoreError where nothing is kept."""
    lengths = [shard.rows for shard in store.manifest.shards]
    counts = [-(-rows // BLOCK) for rows in lengths]
    shard = np.repeat(np.arange(len(lengths)), counts)
    start = np.concatenate([np.zeros(0, np.int64), *(np.arange(count) * BLOCK for count in counts)])
    rows = np.minimum(BLOCK, np.repeat(np.array(lengths, dtype=np.int64), counts) - start)
    if keeps_all(store, keep, examples):
        kept, bits = rows, None
    else:
        bits = np.zeros((len(shard), BLOCK // 8), dtype=np.uint8)
        kept = np.zeros(len(shard), dtype=np.int64)
        first = 0
        for number, count in enumerate(counts):
            _mark(store, number, keep, examples, bits[first : first + count], kept[first : first + count])
            first += count
    if not kept.sum():
        chosen = "all examples" if examples is None else f"{int(examples.sum()):,} of {len(examples):,} examples"
        raise StoreError(
            f"{store.path}: no token is kept: it has {store.tokens:,} of the roles {', '.join(store.hook.roles)}; "
            f"the filter keeps the roles {', '.join(keep.roles)} (fraction {keep.fraction:g}) of {chosen}",
            "widen the token filter, or choose more examples",
        )
    return Index(shard, start, rows, kept, bits)


def _mark(
    store: "Store",
    number: int,
    keep: TokenFilter,
    examples: Bool[np.ndarray, " example"] | None,
    bits: UInt8[np.ndarray, "block byte"],
    kept: Int[np.ndarray, " block"],
) -> None:
    """Fill in the blocks of one shard."""
    layout = store.layout(number)
    descriptor = os.open(layout.path, os.O_RDONLY)
    try:
        for start in range(0, layout.rows, _AT_ONCE):
            stop = min(start + _AT_ONCE, layout.rows)
            mask = kept_mask(store, keep, examples, *layout.columns(descriptor, start, stop))
            padded = np.zeros(-(-len(mask) // BLOCK) * BLOCK, dtype=bool)
            padded[: len(mask)] = mask
            blocks = slice(start // BLOCK, start // BLOCK + len(padded) // BLOCK)
            kept[blocks] = padded.reshape(-1, BLOCK).sum(axis=1)
            bits[blocks] = np.packbits(padded.reshape(-1, BLOCK), axis=1)
    finally:
        os.close(descriptor)


def keeps_all(store: "Store", keep: TokenFilter, examples: Bool[np.ndarray, " example"] | None) -> bool:
    """Whether the filter and the choice of examples let every token through, whatever it is."""
    return examples is None and keep.fraction == 1.0 and set(store.hook.roles) <= set(keep.roles)


def kept_mask(
    store: "Store",
    keep: TokenFilter,
    examples: Bool[np.ndarray, " example"] | None,
    example: Int[Tensor, " token"],
    coords: Int[Tensor, "token axis"],
    role: UInt8[Tensor, " token"],
) -> Bool[np.ndarray, " token"]:
    """The mask of the tokens that the filter and the choice of examples let through."""
    if keeps_all(store, keep, examples):
        return np.ones(len(example), dtype=bool)
    mask: np.ndarray = keep.keep(example, coords, role, store.hook.roles).numpy()
    return mask if examples is None else mask & examples[example.numpy()]
