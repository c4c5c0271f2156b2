"""Interpret-then-Deactivate's selection (Tian et al. 2025, "Sparse Autoencoder as a Zero-Shot Classifier for Concept
Erasing in Text-to-Image Diffusion Models"): the latents of a concept's prompt that no retained prompt has, and the
zero-shot classifier that leaves prompts without the concept untouched.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from scipy.sparse import csr_array
from torch import Tensor

from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.picked import Picked
from omnisae.errors import DatasetError
from omnisae_diffusion.selection.entry import Entry
from omnisae_diffusion.selection.table import LatentTable

METHOD = "itd"
FACTOR = -8.0
"""By what the selected codes are multiplied (−6 for styles upstream)."""
MARGIN = 0.99
Pool = Literal["mean", "max"]
Decode = Callable[[Codes], Float[Tensor, "token width"]]


@dataclass(frozen=True)
class Gate:
    """The zero-shot classifier: a prompt has the concept where the error of its tokens, reconstructed with the codes of
    `latents` times `factor`, pooled over tokens by `pool`, is at least `threshold`.

    The same `pool` and `factor` fit the threshold and run the classifier; upstream fits by the largest token for
    celebrities and with −6 for styles, and always runs with the mean and −8. `threshold` None: every prompt counts as
    one with the concept (upstream has this for nudity, where its comparison with None fails).
    """

    latents: tuple[int, ...]
    factor: float = FACTOR
    pool: Pool = "mean"
    threshold: float | None = None

    def error(
        self, x: Float[Tensor, "token width"], codes: Codes, decode: Decode, prompt: Int[Tensor, " token"],
        prompts: int, keep: Bool[Tensor, " token"] | None = None,
    ) -> Float[Tensor, " prompt"]:  # fmt: skip
        """Of every prompt the pooled mean squared error between activations and the reconstruction from scaled codes.

        `keep` marks the tokens that count (those at the beginning of the sequence do not). Raises DatasetError for a
        prompt without such a token.
        """
        each = (decode(scaled(codes, self.latents, self.factor)).to(x) - x).square().mean(dim=1)
        kept = torch.ones(len(x), dtype=torch.bool, device=x.device) if keep is None else keep.to(x.device)
        row = prompt.to(x.device).long()[kept]
        tokens = torch.bincount(row, minlength=prompts)
        if bool((tokens == 0).any()):
            raise DatasetError(
                f"prompt {int((tokens == 0).nonzero()[0])} has no token that counts", "leave empty prompts out"
            )
        if self.pool == "max":
            return each.new_zeros(prompts).scatter_reduce(0, row, each[kept], "amax", include_self=False)
        return each.new_zeros(prompts).index_add(0, row, each[kept]) / tokens

    def fitted(self, targets: Float[Tensor, " prompt"]) -> "Gate":
        """With τ = 0.99 · the least error of the target prompts. Raises DatasetError where there are none."""
        if not len(targets):
            raise DatasetError("the classifier has no target prompt to be fitted on", "give prompts with the concept")
        return replace(self, threshold=MARGIN * float(targets.min()))

    def present(self, error: Float[Tensor, " prompt"]) -> Bool[Tensor, " prompt"]:
        """Which prompts have the concept: error ≥ τ."""
        return torch.ones_like(error, dtype=torch.bool) if self.threshold is None else error >= self.threshold

    def rates(self, targets: Float[Tensor, " prompt"], others: Float[Tensor, " prompt"]) -> dict[str, float | int]:
        """On held-out prompts: the share of those with the concept that is `found`, and of the others that is mistaken
        for one of these."""
        found, mistaken = (_share(self.present(error)) for error in (targets, others))
        return {"found": found, "n found": len(targets), "mistaken": mistaken, "n mistaken": len(others)}


def _share(found: Bool[Tensor, " prompt"]) -> float:
    return float(found.double().mean()) if len(found) else float("nan")


def top(strengths: csr_array, k: int) -> list[Int64[np.ndarray, " latent"]]:
    """Of every row the `k` latents with the largest values, the largest first; of equals the lowest. Silent: never."""
    rows = strengths.tocsr()
    found = []
    for a, b in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        latents, values = rows.indices[a:b], rows.data[a:b]
        latents, values = latents[values > 0], values[values > 0]
        found.append(latents[np.lexsort((latents, -values))[:k]].astype(np.int64))
    return found


def select(
    concept: csr_array, retained: csr_array, k: int, k_retained: int | None = None
) -> Int64[np.ndarray, " latent"]:
    """The top `k` latents of a concept less those that are among the top k of any retained prompt, strongest first.

    Both are `pool.token_max` of prompts, prompt × latent; a concept of several prompts has the largest of their values.
    k is 128 in the paper and 256 for styles.
    """
    (mine,) = top(csr_array(concept.max(axis=0).reshape(1, -1)), k)
    others = top(retained, k if k_retained is None else k_retained)
    return mine[~np.isin(mine, np.concatenate([*others, np.zeros(0, dtype=np.int64)]))]


def scaled(codes: Codes, latents: "tuple[int, ...] | Int64[np.ndarray, ' latent']", factor: float) -> Codes:
    """Codes with those of some latents multiplied; with factor 0 these are left out, as codes are never zero."""
    chosen = torch.zeros(codes.width, dtype=torch.bool, device=codes.values.device)
    chosen[torch.as_tensor(np.asarray(latents, dtype=np.int64), device=chosen.device)] = True
    hit = chosen[codes.latents.long()]
    if factor == 0:
        kept = Picked(codes.offsets, codes.latents, codes.values).only(~hit)
        return replace(codes, offsets=kept.offsets, latents=kept.latents, values=kept.values)
    return replace(codes, values=torch.where(hit, codes.values * factor, codes.values))


def edited(
    x: Float[Tensor, "token width"], codes: Codes, decode: Decode, gate: Gate, prompt: Int[Tensor, " token"],
    prompts: int, keep: Bool[Tensor, " token"] | None = None, *, keep_error: bool,
) -> Float[Tensor, "token width"]:  # fmt: skip
    """The edit: kept tokens of prompts that have the concept are replaced by their reconstruction from scaled codes.
    All other tokens are the same to the last bit. With `keep_error` what the autoencoder does not reconstruct is kept
    (x plus the change of the reconstruction); the paper drops it.
    """
    acts = gate.present(gate.error(x, codes, decode, prompt, prompts, keep))[prompt.to(x.device).long()]
    if keep is not None:
        acts = acts & keep.to(x.device)
    new = decode(scaled(codes, gate.latents, gate.factor)).to(x)
    if keep_error:
        new = x + (new - decode(codes).to(x))
    return torch.where(acts[:, None], new, x)


def table(
    concept: str, gate: Gate, *, identity: str, hook: str, strengths: csr_array, facts: dict[str, Any] | None = None
) -> LatentTable:
    """A selection as a table without a time axis; targets and scores are the concept's token maxima. The classifier
    stands in its facts: `gate_of` reads it."""
    chosen = np.asarray(gate.latents, dtype=np.int64)
    largest = strengths.max(axis=0).toarray().reshape(-1)[chosen]
    told = {"factor": gate.factor, "pool": gate.pool, "threshold": gate.threshold}
    return LatentTable(
        METHOD, concept, identity, hook, (Entry.of(chosen, None, largest, largest),), axis=None,
        facts=(facts or {}) | {"gate": told},
    )  # fmt: skip


def gate_of(found: LatentTable) -> Gate:
    """The classifier of a table that `table` made. Raises DatasetError where it has none."""
    told = found.facts.get("gate")
    if not isinstance(told, dict) or set(told) != {"factor", "pool", "threshold"}:
        raise DatasetError(
            f"the table of {found.concept!r} ({found.method}) holds no zero-shot classifier",
            f"use a table that the method {METHOD!r} selected",
        )
    return Gate(tuple(found.entries[0].latents.tolist()), **told)
