"""Selection on the CPU: from a narrow product's proposals to fp32's decision, row by row, in the caches (numba).

A chunk of *proposals* is what a product in few bits gave for some rows. A row's proposals are brought to fp32 units,
all latents that could be among those sought are *candidates*, and each candidate's pre-activation is computed anew as
a dot product in full precision: `value = ⟨x, encoder[latent]⟩ + offset[latent]`. These values alone decide, so that
the result does not depend on the chunk, the number of threads, or the product that proposed.

How far proposals may be off is the row's *slack*; see `proposals`.
"""

import numpy as np
from jaxtyping import Float, Int32
from numba import njit, prange

from omnisae.autoencoders.kernels.loops import BLOCK, FAST, dot4

ROUGH = 1 << 12
"""Steps of floats that the floor of proposals may lie too low: a two-thousandth, which hardly adds a candidate."""
STRETCH = 64
"""Latents looked at together when all above a bound are sought."""


@njit(inline="always", fastmath=FAST)
def _values(x: np.ndarray, encoder: np.ndarray, latents: np.ndarray, count: int, out: np.ndarray) -> None:
    """The inner products of one token with the encoder's rows of these latents; short groups repeat the last."""
    last = count - 1
    for i in range(0, count, 4):
        i1, i2, i3 = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        out[i], out[i1], out[i2], out[i3] = dot4(
            x, encoder[latents[i]], encoder[latents[i1]], encoder[latents[i2]], encoder[latents[i3]]
        )


@njit(inline="always")
def _widen(
    given: np.ndarray, scale: np.ndarray, by: float, offset: np.ndarray, bits: np.ndarray, out: np.ndarray
) -> None:
    """A stretch of one row's proposals in units of pre-activations. `bits` is the memory of `out` as integers."""
    if given.itemsize == 2:
        for j in range(out.shape[0]):
            bits[j] = np.uint32(given[j]) << np.uint32(16)
        for j in range(out.shape[0]):
            out[j] += offset[j]
    else:
        for j in range(out.shape[0]):
            out[j] = np.float32(given[j]) * (scale[j] * by) + offset[j]


@njit(inline="always")
def _reach(sizes: np.ndarray, k: int, apart: int) -> np.float32:
    """The kth largest of numbers none of which is negative, or one at most `apart` steps of floats below it.

    Found by halving, since such floats order as their bits do as integers.
    """
    ordered = sizes.view(np.int32)
    low, high = np.int32(0), np.int32(0)
    for j in range(ordered.shape[0]):
        high = max(high, ordered[j])
    while high - low > apart:
        middle = np.int32(low + ((high - low + 1) >> 1))
        reach = np.int32(0)
        for j in range(ordered.shape[0]):
            reach += np.int32(ordered[j] >= middle)
        if reach >= k:
            low = middle
        else:
            high = np.int32(middle - 1)
    found = np.empty(1, np.int32)
    found[0] = low
    floor: np.float32 = found.view(np.float32)[0]
    return floor


@njit(inline="always")
def _ascend(latents: np.ndarray, values: np.ndarray, count: int) -> None:
    """Order the first entries by latent, values with them."""
    for i in range(1, count):
        latent, value = latents[i], values[i]
        j = i - 1
        while j >= 0 and latents[j] > latent:
            latents[j + 1], values[j + 1] = latents[j], values[j]
            j -= 1
        latents[j + 1], values[j + 1] = latent, value


@njit(inline="always")
def _decide(values: np.ndarray, latents: np.ndarray, count: int, k: int, signed: bool) -> int:
    """Keep the k largest in place (by magnitude where `signed`), never zeros; among equals, the lowest latents."""
    sizes = np.abs(values[:count]) if signed else values[:count].copy()
    least, spare = np.float32(0), count
    if count > k:
        least, spare = _reach(sizes, k, 0), k
        for i in range(count):
            spare -= sizes[i] > least
    kept = 0
    for i in range(count):
        tied = sizes[i] == least
        if sizes[i] > 0 and (sizes[i] > least or (tied and spare > 0)):
            spare -= tied
            values[kept], latents[kept] = values[i], latents[i]
            kept += 1
    return kept


@njit(parallel=True, cache=True, fastmath=FAST, nogil=True)
def top(
    proposals: np.ndarray,
    scale: Float[np.ndarray, " latent"],
    by: Float[np.ndarray, " row"],
    offset: Float[np.ndarray, " latent"],
    slack: Float[np.ndarray, " row"],
    blur: np.float32,
    x: Float[np.ndarray, "row width"],
    encoder: Float[np.ndarray, "latent width"],
    k: int,
    groups: int,
    signed: bool,
    latents: Int32[np.ndarray, "row k"],
    values: Float[np.ndarray, "row k"],
    counts: Int32[np.ndarray, " row"],
    candidates: Int32[np.ndarray, " row"],
    room: int,
    trust: bool,
) -> None:
    """The k largest positive pre-activations of each row (largest in magnitude where `signed`), latents ascending.

    `blur` is the relative rounding of a proposal. Where `trust`, proposals are taken for pre-activations. Rows with
    more candidates than `room` report so in `candidates` and are not decided.
    """
    rows, width = proposals.shape
    for block in prange((rows + BLOCK - 1) // BLOCK):
        peaks = np.empty(groups, np.float32)
        row = np.empty(groups, np.float32)
        bits = row.view(np.uint32)
        found = np.empty(room, np.int32)
        exact = np.empty(room, np.float32)
        for r in range(block * BLOCK, min(rows, (block + 1) * BLOCK)):
            given = proposals[r]
            for j in range(groups):
                peaks[j] = np.float32(0)
            for start in range(0, width, groups):
                stop = min(start + groups, width)
                part = row[: stop - start]
                _widen(given[start:stop], scale[start:stop], by[r], offset[start:stop], bits[: stop - start], part)
                if signed:
                    for j in range(part.shape[0]):
                        peaks[j] = max(peaks[j], abs(part[j]))
                else:
                    for j in range(part.shape[0]):
                        peaks[j] = part[j] if part[j] > peaks[j] else peaks[j]
            # At least k proposals reach the floor, and few more: it is the kth largest of the groups' maxima, where
            # group j holds the latents j, j + groups, j + 2·groups, …
            floor = _reach(peaks, k, ROUGH)
            least = floor - slack[r] - blur * floor
            count = 0
            for j in range(groups):
                if peaks[j] >= least or least <= 0:
                    for latent in range(j, width, groups):
                        if given.itemsize == 2:
                            bits[0] = np.uint32(given[latent]) << np.uint32(16)
                            value = row[0] + offset[latent]
                        else:
                            value = np.float32(given[latent]) * (scale[latent] * by[r]) + offset[latent]
                        if value >= least or (signed and -value >= least):
                            if count < room:
                                found[count], exact[count] = latent, value
                            count += 1
            candidates[r] = count
            if count <= room:
                _ascend(found, exact, count)
                if not trust:
                    _values(x[r], encoder, found, count, exact)
                    for i in range(count):
                        exact[i] += offset[found[i]]
                kept = _decide(exact, found, count, k, signed)
                for i in range(kept):
                    latents[r, i], values[r, i] = found[i], exact[i]
                counts[r] = kept


@njit(parallel=True, cache=True, fastmath=FAST, nogil=True)
def above(
    proposals: np.ndarray,
    scale: Float[np.ndarray, " latent"],
    by: Float[np.ndarray, " row"],
    offset: Float[np.ndarray, " latent"],
    slack: Float[np.ndarray, " row"],
    blur: np.float32,
    x: Float[np.ndarray, "row width"],
    encoder: Float[np.ndarray, "latent width"],
    bound: Float[np.ndarray, " latent"],
    latents: Int32[np.ndarray, "row room"],
    values: Float[np.ndarray, "row room"],
    counts: Int32[np.ndarray, " row"],
    candidates: Int32[np.ndarray, " row"],
    trust: bool,
) -> None:
    """The pre-activations of each row that exceed their latent's bound, latents ascending.

    Rows with more candidates than there is room report so in `candidates` and are not decided.
    """
    rows, width = proposals.shape
    room = latents.shape[1]
    for block in prange((rows + BLOCK - 1) // BLOCK):
        row = np.empty(STRETCH, np.float32)
        bits = row.view(np.uint32)
        for r in range(block * BLOCK, min(rows, (block + 1) * BLOCK)):
            count = 0
            for start in range(0, width, STRETCH):  # most hold nothing: their maximum says so quickly
                stop = min(start + STRETCH, width)
                part, limit = row[: stop - start], bound[start:stop]
                _widen(
                    proposals[r, start:stop], scale[start:stop], by[r], offset[start:stop], bits[: stop - start], part
                )
                excess = np.float32(-np.inf)
                for j in range(part.shape[0]):
                    excess = max(excess, part[j] + blur * abs(part[j]) - limit[j])
                if excess >= -slack[r]:
                    for j in range(part.shape[0]):
                        if part[j] + blur * abs(part[j]) - limit[j] >= -slack[r]:
                            if count < room:
                                latents[r, count], values[r, count] = start + j, part[j]
                            count += 1
            candidates[r] = count
            if count <= room:
                kept = 0
                if not trust:
                    _values(x[r], encoder, latents[r], count, values[r])
                for i in range(count):
                    latent = latents[r, i]
                    value = values[r, i] if trust else values[r, i] + offset[latent]
                    if value > bound[latent]:
                        latents[r, kept], values[r, kept] = latent, value
                        kept += 1
                counts[r] = kept
