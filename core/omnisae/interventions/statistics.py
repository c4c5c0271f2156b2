"""Numbers per latent in which operations count their amounts, read off the posting lists of the select split."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix
from torch import Tensor

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT
from omnisae.interventions.operation import of_sign, statistic

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
    `quantile` and `concept_mean`. Where codes are signed, these are of positive codes; those of the magnitudes of
    negative ones stand beside them as `negative:max` and so on. Raises DatasetError where a concept has no positive
    example on the select split.
    """
    side = np.asarray(postings.split)[np.asarray(postings.example)] == SELECT
    found = {statistic("max"): np.asarray(postings.maxima_select, dtype=np.float32)}
    levels = _quantiles(postings, side, quantiles)
    found |= {statistic("quantile", level): levels[i] for i, level in enumerate(quantiles)}
    if concepts:
        found |= {statistic("concept_mean", concept=name): mean for name, mean in _means(postings, concepts).items()}
    return {
        of_sign(name, sign): torch.from_numpy(np.array(column[part]))
        for name, column in found.items()
        for sign, part in postings.poles.split().items()
    }


def _quantiles(
    postings: "Postings", side: Bool[np.ndarray, " token"], quantiles: Sequence[float]
) -> Float[np.ndarray, "level list"]:
    levels = np.zeros((len(quantiles), len(postings.poles)), dtype=np.float32)
    for pole in range(len(postings.poles)):
        tokens, values = postings.entries(pole)
        chosen = side[tokens]
        if chosen.any():
            levels[:, pole] = np.quantile(values[chosen], list(quantiles))
    return levels


def _means(
    postings: "Postings", concepts: Mapping[str, Float[np.ndarray, " example"]]
) -> dict[str, Float[np.ndarray, " list"]]:
    """Each list's mean over all tokens of a concept's examples: sums per example, times a mask over examples."""
    example, select = np.asarray(postings.example), np.asarray(postings.split) == SELECT
    tokens_of = np.bincount(example, minlength=len(select))
    fired, tokens = np.diff(np.asarray(postings.offsets)), np.asarray(postings.token)
    rows = np.repeat(np.arange(len(postings.poles)), fired)
    shape = (len(postings.poles), len(select))
    sums = csr_matrix((np.asarray(postings.value, dtype=np.float64), (rows, example[tokens])), shape=shape)
    means = {}
    for name, labels in concepts.items():
        mask = select & (np.asarray(labels) == 1) & (tokens_of > 0)
        if not mask.any():
            raise DatasetError(
                f"the concept {name!r} has no positive example on the select split", "leave it out, or add examples"
            )
        means[name] = np.asarray(sums @ mask / tokens_of[mask].sum(), dtype=np.float32)
    return means
