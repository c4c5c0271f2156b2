"""One entry of a table of latents: what is done at one time. No torch here."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from omnisae.errors import ArtifactError

EVERYWHERE = -np.inf
"""The gate that every value exceeds: an edit that asks for nothing."""


@dataclass(frozen=True, eq=False)
class Entry:
    """The latents of one time, and of each the level it must exceed (`gates`, in the units of the codes; −∞: none), its
    value for the concept (`targets`) and the score it was selected by (`scores`).

    Raises ArtifactError where latents are negative or named twice, where the lengths differ, and where a number is NaN,
    or infinite and not a gate of −∞.
    """

    latents: Int64[np.ndarray, " latent"]
    gates: Float32[np.ndarray, " latent"]
    targets: Float32[np.ndarray, " latent"]
    scores: Float64[np.ndarray, " latent"]

    def __post_init__(self) -> None:
        lengths = {name: np.shape(getattr(self, name)) for name in ("latents", "gates", "targets", "scores")}
        if len(set(lengths.values())) > 1 or self.latents.ndim != 1:
            said = ", ".join(f"{name} {list(shape)}" for name, shape in lengths.items())
            raise ArtifactError(
                f"an entry of a table has {said}: one number a latent is needed", "select the latents again"
            )
        if len(self.latents) and self.latents.min() < 0:
            raise ArtifactError(
                f"an entry of a table names latent {int(self.latents.min())}: the first is 0",
                "select the latents again",
            )
        named, often = np.unique(self.latents, return_counts=True)
        if (often > 1).any():
            raise ArtifactError(
                f"an entry of a table names latent {int(named[often > 1][0])} twice", "select the latents again"
            )
        if np.isnan(self.gates).any() or np.isposinf(self.gates).any():
            raise ArtifactError("a gate level is NaN or +∞", "give a finite level, or −∞ for no gate")
        for name in ("targets", "scores"):
            if not np.isfinite(getattr(self, name)).all():
                raise ArtifactError(f"{name} of an entry are NaN or infinite", "select the latents again")

    @classmethod
    def of(cls, latents: object, gates: object = None, targets: object = None, scores: object = None) -> "Entry":
        """An entry from any arrays; without gates every value exceeds, without targets and scores these are 0."""
        chosen = np.asarray(latents, dtype=np.int64)
        return cls(
            chosen,
            np.asarray(np.full(chosen.shape, EVERYWHERE) if gates is None else gates, dtype=np.float32),
            np.asarray(np.zeros(chosen.shape) if targets is None else targets, dtype=np.float32),
            np.asarray(np.zeros(chosen.shape) if scores is None else scores, dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.latents)
