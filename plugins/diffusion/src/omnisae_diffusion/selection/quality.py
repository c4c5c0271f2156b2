"""How well selected latents tell a concept on examples that did not select them, beside random ones as frequent."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy.sparse import csc_array, csr_array

from omnisae.errors import DatasetError
from omnisae.postings.postings import Postings
from omnisae.studies.ranks import auroc
from omnisae.studies.resample import p_value
from omnisae_diffusion.selection.means import TIME
from omnisae_diffusion.selection.table import LatentTable

NEAREST = 8
"""From how many latents of the nearest frequencies a control latent is drawn."""


@dataclass(frozen=True)
class Separation:
    """AUROC of the summed normalised activations of a set of latents over `positives` and `negatives` held-out
    examples. `control` is the mean over `draws` random sets of equally many latents that fire about as often, `high`
    their 97.5th percentile, and `p` the chance that such a set does as well: all NaN where no other latent fires.
    """

    auroc: float
    positives: int
    negatives: int
    control: float
    high: float
    p: float
    draws: int


def activations(postings: Postings, axis: str | None = TIME) -> csc_array:
    """The mean of every latent over an example's content tokens at each step: example × (step, latent), unit
    step · latents + latent. With `axis` None over all of an example's tokens. Of signed codes the positive ones.
    """
    example, step, steps = np.asarray(postings.example, dtype=np.int64), np.zeros(postings.n_tokens, dtype=np.int64), 1
    if axis is not None:
        step = np.asarray(postings.coords[:, postings.hook.axes.index(axis)], dtype=np.int64)
        steps = len(postings.hook.told[axis].ticks)
    content = np.asarray(postings.role) == 0
    tokens = np.bincount(example[content] * steps + step[content], minlength=postings.n_examples * steps)
    entry = np.asarray(postings.token)
    latent = np.repeat(np.arange(postings.latents), np.diff(np.asarray(postings.offsets)[: postings.latents + 1]))
    entry, values = entry[: len(latent)], np.asarray(postings.value[: len(latent)], dtype=np.float64)
    kept = content[entry]
    entry, latent, values = entry[kept], latent[kept], values[kept]
    cell = example[entry] * steps + step[entry]
    shape = (postings.n_examples, steps * postings.latents)
    return csc_array((values / tokens[cell], (example[entry], step[entry] * postings.latents + latent)), shape=shape)


def units(table: LatentTable, times: tuple[float, ...], latents: int) -> Int64[np.ndarray, " unit"]:
    """The columns of `activations` that a table's entries stand for, at steps told `times`."""
    if table.axis is None:
        return table.entries[0].latents
    return np.concatenate([
        step * latents + table.entries[place].latents for step, place in enumerate(table.places(times))
    ])  # fmt: skip


def separation(
    values: csc_array,
    chosen: Int64[np.ndarray, " unit"],
    labels: Float[np.ndarray, " example"],
    *,
    fit: Bool[np.ndarray, " example"],
    test: Bool[np.ndarray, " example"],
    latents: int,
    draws: int = 100,
    seed: int = 0,
) -> Separation:
    """How well `chosen` columns of `values` (example × unit, as `activations`) tell the examples labelled 1 from those
    labelled 0 (NaN: neither) on `test`.

    Each unit is divided by its largest value on `fit`, the examples that selected; an example's score is the sum. A
    control replaces every unit by a random one of the same step (`latents` units a step) whose frequency on `fit` is
    among the nearest, not chosen and not drawn twice. Nothing of `test` is used to choose.

    Raises DatasetError where the sides share an example, or `test` has no positive or no negative one.
    """
    positive, negative = _held_out(labels, fit, test)
    rows = np.flatnonzero(positive | negative)
    seen = csc_array(csr_array(values)[np.flatnonzero(fit)])
    largest, often = seen.max(axis=0).toarray().reshape(-1), np.diff(seen.indptr)
    scaled = csc_array(csr_array(values)[rows])
    scaled.data = scaled.data / np.repeat(np.where(largest > 0, largest, np.inf), np.diff(scaled.indptr))
    sets = [chosen, *_controls(chosen, often, latents, draws, np.random.default_rng(seed))]
    sums = np.stack([np.asarray(scaled[:, one].sum(axis=1)).reshape(-1) for one in sets], axis=1)
    return _told(sums, positive[rows], negative[rows])


def projection(
    values: csc_array,
    along: Float[np.ndarray, " latent"],
    labels: Float[np.ndarray, " example"],
    *,
    fit: Bool[np.ndarray, " example"],
    test: Bool[np.ndarray, " example"],
    draws: int = 100,
    seed: int = 0,
) -> Separation:
    """As `separation`, of a direction: an example's score is the projection of its codes (example × latent) onto it. A
    control gives each of its weights to a random latent that fires about as often on `fit` and is not of the direction.
    """
    positive, negative = _held_out(labels, fit, test)
    rows, chosen = np.flatnonzero(positive | negative), np.flatnonzero(along)
    often = np.diff(csc_array(csr_array(values)[np.flatnonzero(fit)]).indptr)
    held = csc_array(csr_array(values)[rows])
    sets = [chosen, *_controls(chosen, often, values.shape[1], draws, np.random.default_rng(seed))]
    sums = np.stack([held[:, one] @ along[chosen] for one in sets], axis=1)
    return _told(sums, positive[rows], negative[rows])


def against(
    values: csc_array,
    along: Float[np.ndarray, "latent direction"],
    labels: Float[np.ndarray, " example"],
    *,
    fit: Bool[np.ndarray, " example"],
    test: Bool[np.ndarray, " example"],
) -> Separation:
    """As `projection` onto the first direction, the others being the controls."""
    positive, negative = _held_out(labels, fit, test)
    rows = np.flatnonzero(positive | negative)
    return _told(np.asarray(csr_array(values)[rows] @ along), positive[rows], negative[rows])


def _held_out(
    labels: Float[np.ndarray, " example"], fit: Bool[np.ndarray, " example"], test: Bool[np.ndarray, " example"]
) -> tuple[Bool[np.ndarray, " example"], Bool[np.ndarray, " example"]]:
    if (fit & test).any():
        raise DatasetError(
            f"{int((fit & test).sum())} examples are on both sides: what chose the latents would judge them",
            "give masks of the select and the test split",
        )
    positive, negative = ((labels == value) & test for value in (1, 0))
    if not positive.any() or not negative.any():
        raise DatasetError(
            f"the test side has {int(positive.sum())} examples with the concept and {int(negative.sum())} without it",
            "both are needed: add examples, or split otherwise (score.split)",
        )
    return positive, negative


def _told(
    sums: Float[np.ndarray, "example set"],
    positive: Bool[np.ndarray, " example"],
    negative: Bool[np.ndarray, " example"],
) -> Separation:
    """The first set's scores beside those of its controls."""
    found: Float64[np.ndarray, " set"] = auroc(sums, positive)
    null = found[1:]
    known = len(null) > 0
    return Separation(
        float(found[0]),
        int(positive.sum()),
        int(negative.sum()),
        float(null.mean()) if known else float("nan"),
        float(np.quantile(null, 0.975)) if known else float("nan"),
        p_value(float(found[0]), null) if known else float("nan"),
        len(null),
    )


def _controls(
    chosen: Int64[np.ndarray, " unit"],
    often: Int64[np.ndarray, " unit"],
    latents: int,
    draws: int,
    random: np.random.Generator,
) -> list[Int64[np.ndarray, " unit"]]:
    """Random sets that match the chosen one unit by unit in step and frequency. None where some unit has no match."""
    free = often > 0
    free[chosen] = False
    pools = []
    for unit in chosen:
        step = int(unit) // latents
        others = step * latents + np.flatnonzero(free[step * latents : (step + 1) * latents])
        pools.append(others[np.argsort(np.abs(often[others] - often[unit]), kind="stable")])
    sets = []
    for _ in range(draws):
        drawn: list[int] = []
        for pool in pools:
            left = pool[~np.isin(pool, drawn)][:NEAREST]
            if not len(left):
                return []
            drawn.append(int(random.choice(left)))
        sets.append(np.asarray(drawn, dtype=np.int64))
    return sets
