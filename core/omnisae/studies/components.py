"""Principal components of pooled activations: what latents are compared with."""

import numpy as np
from jaxtyping import Float


class Components:
    """The leading principal components of a matrix (example, width), largest variance first; at most as many as its
    rank allows. Rows that are NaN, of examples without a token, are left out."""

    def __init__(self, values: Float[np.ndarray, "row width"], most: int) -> None:
        known = values[~np.isnan(values).any(axis=1)].astype(np.float64)
        self.mean = known.mean(axis=0)
        _, scale, self.axes = np.linalg.svd(known - self.mean, full_matrices=False)
        kept = int((scale > 1e-9 * max(scale[0] if len(scale) else 0.0, 1e-300)).sum())
        self.axes = self.axes[: min(most, kept)]

    def __len__(self) -> int:
        return len(self.axes)

    def __call__(self, values: Float[np.ndarray, "row width"]) -> Float[np.ndarray, "row component"]:
        """The coordinates of rows along the components."""
        return np.asarray((values - self.mean) @ self.axes.T)
