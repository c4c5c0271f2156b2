"""Effects: what an artifact, and switching off one of its latents, does to the model's own loss."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor
from omnisae.extract.loading import batches
from omnisae.extract.module import to_device
from omnisae.interventions.operation import Tokens, scale
from omnisae.interventions.sae import SAE
from omnisae.interventions.sparse import silent
from omnisae.postings.poles import Poles

if TYPE_CHECKING:
    from omnisae.postings.postings import Postings

Rows = Sequence[int] | Int[np.ndarray, " row"]
Edit = Callable[[], AbstractContextManager[None]]
DRAWS = 2000
"""Bootstrap samples behind an interval."""
MOST_ROWS = 64
"""Examples on which one latent is switched off by `measure`."""


def loss_recovered(
    sae: SAE, extractor: Extractor, dataset: Dataset, rows: Rows, *, workers: int | None = None
) -> dict[str, Any] | None:
    """How much of the model's own loss survives when the autoencoder's reconstruction stands in for its activations.

    recovered = (L_zeroed − L_spliced) / (L_zeroed − L_original), each L a mean over the examples of `rows` (n of them
    have a loss). *spliced*: kept tokens become decode(encode(x)). *zeroed* is the control: kept tokens become the mean
    activation that the normaliser was fitted with (`control`: "mean"), or, of a normaliser without one, the
    reconstruction of a code in which no latent fires ("silent"). 1 is perfect, 0 no better than the control; None where
    the control costs nothing. The tokens are those that the `edit` filter keeps.

    Returns None where the extractor has no loss. Raises ArtifactError where the artifact does not belong to the model.
    """
    if extractor.model is None:
        return None
    model, sae = extractor.model, sae.attach(extractor.model)
    control, silence = _control(sae)
    edits: list[Edit] = [
        nullcontext,
        lambda: sae.edit(model, replace=True),
        lambda: sae.editing(model, silence, delta=False),
    ]
    losses = _losses(extractor, dataset, rows, edits, workers)
    if losses is None:
        return None
    whole = np.concatenate([found for _, found in losses], axis=1) if losses else np.zeros((3, 0))
    whole = whole[:, ~np.isnan(whole).any(axis=0)]
    if not whole.shape[1]:
        return None
    original, spliced, zeroed = (float(mean) for mean in whole.mean(axis=1))
    cost = zeroed - original
    recovered = (zeroed - spliced) / cost if abs(cost) > 1e-12 else None
    n = int(whole.shape[1])
    return {
        "original": original,
        "spliced": spliced,
        "zeroed": zeroed,
        "recovered": recovered,
        "control": control,
        "n": n,
    }


def switching_off(
    sae: SAE,
    extractor: Extractor,
    dataset: Dataset,
    latents: Mapping[int, Sequence[int]],
    controls: Mapping[int, Sequence[int]] | None = None,
    *,
    control_rows: Mapping[int, Sequence[int]] | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> list[dict[str, Any]]:
    """What switching single latents off does to the model's own loss.

    Latents are numbered as posting lists: where codes are signed, one is one pole of a latent, and only its codes of
    that sign are set to zero; the facts then name `latent` and `sign`.

    For each latent the mean change of the loss, L(z = 0) − L, over its rows, with n and a bootstrap 95 % interval
    (percentiles over resampled examples); beside it the same for its control latents, on the latent's rows, or on their
    own where `control_rows` names them. Positive: the model does worse without it. Empty where there is no loss.
    """
    if extractor.model is None:
        return []
    sae.attach(extractor.model)
    poles, rng = _poles(sae), np.random.default_rng(seed)
    own: dict[int, Float[np.ndarray, " example"] | None] = {}
    found = []
    for latent, rows in latents.items():
        others = [] if controls is None else [int(other) for other in controls.get(latent, ())]
        apart = [other for other in others if control_rows is not None and other in control_rows]
        beside = [other for other in others if other not in apart]
        changes = _changes(sae, extractor, dataset, rows, [latent, *beside], workers)
        if changes is None:
            return []
        for other in apart:
            if other not in own and control_rows is not None:
                measured = _changes(sae, extractor, dataset, control_rows[other], [other], workers)
                own[other] = None if measured is None else measured[0]
        of_others = {other: changes[1 + i] for i, other in enumerate(beside)}
        of_others |= {other: change for other in apart if (change := own.get(other)) is not None}
        pooled = np.concatenate([of_others[other] for other in others]) if others else np.zeros(0)
        found.append(
            {
                **poles.facts(latent),
                **_summary(changes[0], rng),
                "controls": [{**poles.facts(other), **_summary(of_others[other], rng)} for other in others],
                "control": _summary(pooled, rng),
            }
        )
    return found


def matched_controls(
    counts: Sequence[int], latents: Sequence[int], *, each: int = 3, seed: int = 0, poles: Poles | None = None
) -> dict[int, list[int]]:
    """For each latent, others drawn at random from the latents that fire most nearly as often (log of the count).

    `counts` are tokens in which each latent fires. Silent latents and `latents` themselves are no controls; nor are the
    opposite poles of these, where `poles` says that latents have two (and numbers are those of posting lists).
    """
    known, rng = np.asarray(counts, dtype=np.float64), np.random.default_rng(seed)
    able, poles = np.flatnonzero(known > 0), Poles(len(known)) if poles is None else poles
    able = able[~np.isin(poles.latent(able), poles.latent(np.asarray(latents, dtype=np.int64)))]
    chosen = {}
    for latent in latents:
        distance = np.abs(np.log(known[able]) - math.log(max(known[latent], 1.0)))
        near = able[np.argsort(distance, kind="stable")[: 4 * each]]
        chosen[int(latent)] = sorted(int(one) for one in rng.permutation(near)[:each])
    return chosen


def measure(
    sae: SAE,
    extractor: Extractor,
    dataset: Dataset,
    postings: "Postings",
    rows: Rows,
    latents: Sequence[int],
    *,
    seed: int = 0,
    workers: int | None = None,
) -> dict[str, Any]:
    """Loss recovered over `rows`, and the effect of switching each latent off on up to 64 of these rows in which it
    fires, drawn at random, beside three latents that fire as often, each on rows drawn the same way. `latents` are
    posting lists (see `switching_off`).

    `loss` is None, with the reason under `why`, where the model has no loss of its own.
    """
    recovered = loss_recovered(sae, extractor, dataset, rows, workers=workers)
    if recovered is None:
        return {"loss": None, "latents": [], "why": "the extractor gives no loss of the model"}
    controls = matched_controls(np.asarray(postings.counts).tolist(), latents, seed=seed, poles=postings.poles)
    everyone = {*latents, *(other for others in controls.values() for other in others)}
    drawn = {latent: _draw(postings, latent, rows, seed) for latent in sorted(everyone)}
    firing = {latent: drawn[latent] for latent in latents if drawn[latent]}
    controls = {latent: [other for other in others if drawn[other]] for latent, others in controls.items()}
    effects = switching_off(sae, extractor, dataset, firing, controls, control_rows=drawn, seed=seed, workers=workers)
    return {"loss": recovered, "latents": effects}


def _draw(postings: "Postings", latent: int, rows: Rows, seed: int) -> list[int]:
    wanted = np.asarray(rows, dtype=np.int64)
    fires = wanted[np.asarray(postings.strength(latent))[wanted] > 0]
    picked = np.random.default_rng([seed, latent]).permutation(fires)[:MOST_ROWS]
    return [int(row) for row in np.sort(picked)]


def _changes(
    sae: SAE,
    extractor: Extractor,
    dataset: Dataset,
    rows: Sequence[int],
    latents: Sequence[int],
    workers: int | None,
) -> Float[np.ndarray, "latent example"] | None:
    """The change of each example's loss when each latent is switched off; NaN where the model gives no loss."""
    if extractor.model is None:
        return None
    model, poles = extractor.model, _poles(sae)
    off = [scale(int(poles.latent(one)), by=0.0, sign=poles.sign(one)) for one in latents]
    offs: list[Edit] = [lambda one=one: sae.edit(model, one) for one in off]  # type: ignore[misc]
    losses = _losses(extractor, dataset, rows, [nullcontext, *offs], workers)
    if losses is None:
        return None
    whole = np.concatenate([found for _, found in losses], axis=1) if losses else np.zeros((1 + len(latents), 0))
    changes: Float[np.ndarray, "latent example"] = whole[1:] - whole[:1]
    return changes


def _poles(sae: SAE) -> Poles:
    return Poles(sae.autoencoder.latents, sae.signed)


def _losses(
    extractor: Extractor, dataset: Dataset, rows: Rows, edits: Sequence[Edit], workers: int | None
) -> list[tuple[tuple[int, ...], Float[np.ndarray, "edit example"]]] | None:
    """The loss of every readable example under each edit, batch by batch; None where the model has none."""
    found = []
    for read, inputs in batches(dataset, extractor, [int(row) for row in rows], workers):
        here = to_device(inputs, _device(extractor))
        under = []
        for entered in edits:
            with torch.inference_mode(), entered():
                loss = extractor.loss(read, here)
            if loss is None:
                return None
            under.append(loss.detach().double().cpu().numpy())
        found.append((read, np.stack(under)))
    return found


def _device(extractor: Extractor) -> torch.device:
    weights = next(iter(extractor.model.parameters()), None) if extractor.model is not None else None
    return torch.device("cpu") if weights is None else weights.device


def _control(sae: SAE) -> tuple[str, Callable[[Tensor, Tokens], tuple[Tensor, Tensor]]]:
    """The edit that takes all information away from the kept tokens."""
    mean = getattr(sae.autoencoder.normaliser, "mean", None)
    if isinstance(mean, Tensor) and mean.shape == (sae.autoencoder.width,):
        return "mean", lambda x, _: (torch.arange(len(x), device=x.device), mean.to(x).expand(len(x), -1))
    return "silent", lambda x, _: (
        torch.arange(len(x), device=x.device),
        sae.decode(silent(sae.encode(x, check=False))),
    )


def _summary(changes: Float[np.ndarray, " example"], rng: np.random.Generator) -> dict[str, Any]:
    """Mean, 95 % bootstrap interval and n of the changes that are known."""
    known = changes[~np.isnan(changes)]
    n = len(known)
    if not n:
        return {"change": None, "low": None, "high": None, "n": 0}
    means = known[rng.integers(0, n, size=(DRAWS, n))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {"change": float(known.mean()), "low": float(low), "high": float(high), "n": n}
