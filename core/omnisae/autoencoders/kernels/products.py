"""Products of codes on the CPU: reconstruction with its gradients, and sums by latent (numba).

Entries are `latents[offsets[t]:offsets[t + 1]]` of token t, ascending. Those of token t and group p are
`latents[bags[b]:bags[b + 1]]` with b = t · groups + p. Prefix group p holds the latents from `ends[p - 1]` up to
`ends[p]`.
"""

import numpy as np
from jaxtyping import Float, Int
from numba import njit, prange

from omnisae.autoencoders.kernels.loops import BLOCK, STRICT, dot4, square_of


@njit(parallel=True, cache=True, fastmath=STRICT, nogil=True)
def reconstruct(
    x: Float[np.ndarray, "token width"],
    shift: Float[np.ndarray, " width"],
    values: Float[np.ndarray, " entry"],
    latents: Int[np.ndarray, " entry"],
    bags: Int[np.ndarray, " token*group+1"],
    decoder: Float[np.ndarray, "latent width"],
    weights: Float[np.ndarray, " group"],
    pulls: Float[np.ndarray, "token group width"],
    residual: Float[np.ndarray, "token width"],
    along: Float[np.ndarray, " entry"],
    squares: Float[np.ndarray, "token group"],
) -> None:
    """The residuals r_p = x − shift − Σ value · atom over the first p + 1 groups, and what their losses pull at.

    Writes ‖r_p‖² to `squares`, the last residual to `residual` (where it has rows), Σ_{q ≥ p} weight_q r_q to `pulls`,
    and ⟨pull of its group, atom⟩ of every entry to `along`.
    """
    tokens, width = x.shape
    groups = weights.shape[0]
    for block in prange((tokens + BLOCK - 1) // BLOCK):
        left = np.empty(width, x.dtype)
        for t in range(block * BLOCK, min(tokens, (block + 1) * BLOCK)):
            for j in range(width):
                left[j] = x[t, j] - shift[j]
            bag = t * groups
            for p in range(groups):
                entry, until = bags[bag + p], bags[bag + p + 1]
                for e in range(entry, until - 3, 4):
                    v0, v1, v2, v3 = values[e], values[e + 1], values[e + 2], values[e + 3]
                    d0, d1 = decoder[latents[e]], decoder[latents[e + 1]]
                    d2, d3 = decoder[latents[e + 2]], decoder[latents[e + 3]]
                    for j in range(width):
                        left[j] = (((left[j] - v0 * d0[j]) - v1 * d1[j]) - v2 * d2[j]) - v3 * d3[j]
                for e in range(until - (until - entry) % 4, until):
                    v0, d0 = values[e], decoder[latents[e]]
                    for j in range(width):
                        left[j] -= v0 * d0[j]
                for j in range(width):
                    pulls[t, p, j] = weights[p] * left[j]
                squares[t, p] = square_of(left)
            if residual.shape[0] > 0:
                for j in range(width):
                    residual[t, j] = left[j]
            for p in range(groups - 1):
                q = groups - 2 - p
                for j in range(width):
                    pulls[t, q, j] += pulls[t, q + 1, j]
            for p in range(groups):
                last = bags[bag + p + 1] - 1
                for i in range(bags[bag + p], last + 1, 4):
                    i1, i2, i3 = min(i + 1, last), min(i + 2, last), min(i + 3, last)
                    along[i], along[i1], along[i2], along[i3] = dot4(
                        pulls[t, p],
                        decoder[latents[i]],
                        decoder[latents[i1]],
                        decoder[latents[i2]],
                        decoder[latents[i3]],
                    )


@njit(parallel=True, cache=True, fastmath=STRICT, nogil=True)
def sum_by_latent(
    rows: Float[np.ndarray, "token group width"],
    weights: Float[np.ndarray, " entry"],
    order: Int[np.ndarray, " entry"],
    bounds: Int[np.ndarray, " latent+1"],
    tokens: Int[np.ndarray, " entry"],
    ends: Int[np.ndarray, " group"],
    shift: Float[np.ndarray, " width"],
    out: Float[np.ndarray, "latent width"],
    sums: Float[np.ndarray, " latent"],
) -> None:
    """Of each latent, Σ weight · (row of the entry's token and the latent's group − shift), and Σ weight."""
    width = rows.shape[2]
    zero = rows.dtype.type(0)
    for latent in prange(out.shape[0]):
        group = 0
        while latent >= ends[group]:
            group += 1
        into = out[latent]
        total = zero
        for j in range(width):
            into[j] = zero
        first, stop = bounds[latent], bounds[latent + 1]
        for q in range(first, stop - 3, 4):
            e0, e1, e2, e3 = order[q], order[q + 1], order[q + 2], order[q + 3]
            w0, w1, w2, w3 = weights[e0], weights[e1], weights[e2], weights[e3]
            r0, r1 = rows[tokens[e0], group], rows[tokens[e1], group]
            r2, r3 = rows[tokens[e2], group], rows[tokens[e3], group]
            total += (w0 + w1) + (w2 + w3)
            for j in range(width):
                into[j] = (((into[j] + w0 * r0[j]) + w1 * r1[j]) + w2 * r2[j]) + w3 * r3[j]
        for q in range(stop - (stop - first) % 4, stop):
            w0, r0 = weights[order[q]], rows[tokens[order[q]], group]
            total += w0
            for j in range(width):
                into[j] += w0 * r0[j]
        if total != 0:
            for j in range(width):
                into[j] -= total * shift[j]
        sums[latent] = total


@njit(cache=True, nogil=True)
def transpose(
    latents: Int[np.ndarray, " entry"],
    offsets: Int[np.ndarray, " token+1"],
    order: Int[np.ndarray, " entry"],
    bounds: Int[np.ndarray, " latent+1"],
    tokens: Int[np.ndarray, " entry"],
) -> None:
    """Entries by latent, and by token within a latent: a counting sort. Also the token of every entry."""
    bounds[:] = 0
    for e in range(latents.shape[0]):
        bounds[latents[e] + 1] += 1
    for latent in range(1, bounds.shape[0]):
        bounds[latent] += bounds[latent - 1]
    place = bounds[:-1].copy()
    for t in range(offsets.shape[0] - 1):
        for e in range(offsets[t], offsets[t + 1]):
            tokens[e] = t
            order[place[latents[e]]] = e
            place[latents[e]] += 1


@njit(cache=True, nogil=True)
def runs(
    latents: Int[np.ndarray, " entry"],
    offsets: Int[np.ndarray, " token+1"],
    ends: Int[np.ndarray, " group"],
    bags: Int[np.ndarray, " token*group+1"],
) -> None:
    """Where the entries of each token and prefix group begin."""
    groups = ends.shape[0]
    bags[0] = 0
    for t in range(offsets.shape[0] - 1):
        entry = offsets[t]
        for p in range(groups):
            while entry < offsets[t + 1] and latents[entry] < ends[p]:
                entry += 1
            bags[t * groups + p + 1] = entry


@njit(parallel=True, cache=True, nogil=True)
def ranks(
    sizes: Float[np.ndarray, " entry"], offsets: Int[np.ndarray, " token+1"], out: Int[np.ndarray, " entry"]
) -> None:
    """How many entries of the same token are larger than each one, or equal and before it."""
    tokens = offsets.shape[0] - 1
    for block in prange((tokens + BLOCK - 1) // BLOCK):
        for t in range(block * BLOCK, min(tokens, (block + 1) * BLOCK)):
            first = offsets[t]
            order = np.argsort(-sizes[first : offsets[t + 1]], kind="mergesort")
            for rank in range(order.shape[0]):
                out[first + order[rank]] = rank
