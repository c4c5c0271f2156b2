"""Many tests at once: q-values that bound the share of false discoveries."""

import numpy as np
from jaxtyping import Float64


def benjamini_hochberg(p: Float64[np.ndarray, " row"]) -> Float64[np.ndarray, " row"]:
    """q-values (Benjamini & Hochberg 1995) over all p-values that are no NaN: q₍ᵢ₎ = min over j ≥ i of p₍ⱼ₎ · m / j."""
    q = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    if len(known):
        order = known[np.argsort(p[known], kind="stable")]
        raw = p[order] * len(order) / np.arange(1, len(order) + 1)
        q[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return q
