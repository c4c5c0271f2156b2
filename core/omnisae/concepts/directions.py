"""The controls' directions: neurons, principal components, random ones; all centred by the mean of train tokens.

Columns of hook points are none of the model's own values, and left out.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from omnisae.config import ControlsConfig
from omnisae.extract.split import TRAIN
from omnisae.postings.postings import Postings
from omnisae.store.source import TokenSource

SAMPLE = 1 << 18
"""Train tokens, about, from which the mean and the components are fitted."""

WIDEST = 4096
"""Up to this width components come from the full covariance; above, from a randomised decomposition of the sample."""

HELD = 1 << 27
"""Values of the sample that are held in memory for it."""


@dataclass(frozen=True)
class Family:
    """Units of one kind. `directions` holds one a column; None are the neurons themselves. With `both`, each unit's
    negative is a unit as well."""

    name: str
    directions: Float32[Tensor, "width unit"] | None
    units: int
    both: bool

    @property
    def slots(self) -> int:
        """Units, negatives included."""
        return self.units * (2 if self.both else 1)

    def name_slot(self, slot: int) -> tuple[int, int]:
        """The unit's number and its sign."""
        return slot % self.units, 1 if slot < self.units else -1

    def take(self, slots: list[int], width: int) -> "Family":
        """Some slots alone, as a family of plain directions."""
        units, signs = zip(*(self.name_slot(slot) for slot in slots), strict=True)
        chosen = torch.eye(width)[:, list(units)] if self.directions is None else self.directions[:, list(units)]
        return Family(self.name, chosen * torch.tensor(signs, dtype=torch.float32), len(slots), False)

    def values(self, centred: Float32[Tensor, "token width"]) -> Float32[np.ndarray, "token slot"]:
        """Activations before rectification."""
        a = centred if self.directions is None else centred @ self.directions
        both = torch.cat([a, -a], dim=1) if self.both else a
        out: Float32[np.ndarray, "token slot"] = both.numpy()
        return out


def families(
    postings: Postings, source: TokenSource, config: ControlsConfig, seed: int
) -> tuple[Float32[Tensor, " width"], list[Family]]:
    """The mean of the train tokens, and the controls that the config asks for."""
    if not (config.neurons or config.pca or config.random):
        return torch.zeros(postings.hook.own_width), []
    width = postings.hook.own_width
    mean, covariance = _moments(postings, source, seed, wide=config.pca > 0 and width <= WIDEST)
    found = []
    if config.neurons:
        found.append(Family("neuron", None, width, True))
    if config.pca:
        if width <= WIDEST:
            vectors = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, : config.pca]
        else:
            vectors = _leading(postings, source, seed, mean.float(), config.pca)
        found.append(Family("pca", vectors.float().contiguous(), vectors.shape[1], True))
    if config.random:
        generator = torch.Generator().manual_seed(seed)
        directions = torch.nn.functional.normalize(torch.randn(width, config.random, generator=generator), dim=0)
        found.append(Family("random", directions, config.random, False))
    return mean.float(), found


def _leading(postings: Postings, source: TokenSource, seed: int, mean: Tensor, count: int) -> Tensor:
    """The first components of a sample of wide tokens (Halko et al. 2011, four power iterations, seeded)."""
    rows, most = [], max(2 * count, HELD // postings.hook.own_width)
    for batch in source.sequential(postings.manifest.keep, _sampled(postings, seed), 1024):
        rows.append(batch.values[:, : len(mean)].detach().cpu() - mean)
        if sum(map(len, rows)) >= most:
            break
    sample = torch.cat(rows)[:most] if rows else torch.zeros(1, len(mean))
    wanted = min(count, *sample.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _, _, vectors = torch.svd_lowrank(sample, q=min(wanted + 16, *sample.shape), niter=4)
    return vectors[:, :wanted]


def _sampled(postings: Postings, seed: int) -> Bool[np.ndarray, " example"]:
    """The train examples whose tokens make up the sample."""
    train = np.flatnonzero(postings.split == TRAIN)
    per_example = max(1.0, postings.n_tokens / max(1, int(postings.shown.sum())))
    wanted = max(2, int(SAMPLE / per_example))
    chosen = np.zeros(postings.n_examples, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(train)[:wanted]] = True
    return chosen


def _moments(postings: Postings, source: TokenSource, seed: int, *, wide: bool) -> tuple[Tensor, Tensor]:
    """Mean and (where `wide`) covariance, in fp64, of a random sample of the train examples' tokens."""
    chosen, width = _sampled(postings, seed), postings.hook.own_width
    side = width if wide else 0
    total, outer, n = torch.zeros(width, dtype=torch.float64), torch.zeros(side, side, dtype=torch.float64), 0
    shift: Tensor | None = None
    for batch in source.sequential(postings.manifest.keep, chosen, 8192):
        x = batch.values[:, :width].detach().cpu()
        shift = x.mean(dim=0) if shift is None else shift  # keeps the digits where the mean is large
        x = x - shift
        total += x.sum(dim=0, dtype=torch.float64)
        if wide:
            outer += (x.T @ x).double()
        n += len(x)
    if n == 0 or shift is None:
        return total, outer
    mean = total / n
    return mean + shift.double(), outer / n - torch.outer(mean, mean) if wide else outer
