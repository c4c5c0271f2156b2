"""Numbers per latent in which operations count their amounts, read off the posting lists of the select split."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT
from omnisae.interventions.operation import statistic

if TYPE_CHECKING:
    from omnisae.postings.postings import Postings


def statistics(
    postings: "Postings",
    *,
    quantiles: Sequence[float] = (0.5, 0.9, 0.99),
    concepts: Mapping[str, Float[np.ndarray, " example"]] | None = None,
) -> dict[str, Float[Tensor, " latent"]]:
    """The largest value of every latent, its quantiles over the tokens where it fires (0 where it never does), and its
    mean over all tokens of the examples labelled 1 for each concept: all on examples of the select split.

    `annotate(path, statistics(…))` writes them into an artifact, whose operations may then use the units `max`,
    `quantile` and `concept_mean`. Raises DatasetError where a concept has no positive example on the select split.
    """
    side = np.asarray(postings.split)[np.asarray(postings.example)] == SELECT
    found = {statistic("max"): np.asarray(postings.maxima_select, dtype=np.float32)}
    levels = np.zeros((len(quantiles), postings.latents), dtype=np.float32)
    means = {name: np.zeros(postings.latents, dtype=np.float64) for name in concepts or {}}
    within = {name: _tokens_within(postings, name, labels, side) for name, labels in (concepts or {}).items()}
    for latent in range(postings.latents):
        tokens, values = postings.entries(latent)
        chosen = side[tokens]
        if quantiles and chosen.any():
            levels[:, latent] = np.quantile(values[chosen], list(quantiles))
        for name, inside in within.items():
            means[name][latent] = values[inside[tokens]].sum(dtype=np.float64) / inside.sum()
    found |= {statistic("quantile", level): levels[i] for i, level in enumerate(quantiles)}
    found |= {statistic("concept_mean", concept=name): mean.astype(np.float32) for name, mean in means.items()}
    return {name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in found.items()}


def _tokens_within(
    postings: "Postings", name: str, labels: Float[np.ndarray, " example"], side: Bool[np.ndarray, " token"]
) -> Bool[np.ndarray, " token"]:
    inside = side & (np.asarray(labels)[np.asarray(postings.example)] == 1)
    if not inside.any():
        raise DatasetError(
            f"the concept {name!r} has no positive example on the select split", "leave it out, or add examples"
        )
    chosen: Bool[np.ndarray, " token"] = inside
    return chosen
