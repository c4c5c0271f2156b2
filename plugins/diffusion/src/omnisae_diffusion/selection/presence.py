"""The gate of a table: whether a concept is there at all, told at every time by the model's own activations.

In the spirit of Interpret-then-Deactivate's zero-shot classifier, which leaves prompts without the concept untouched,
bit for bit. There the error of a scaled reconstruction tells; here a logistic regression on an example's mean
activation does, one for each time.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64

from omnisae.errors import DatasetError
from omnisae.store.source import TokenSource
from omnisae.tokens.filter import TokenFilter
from omnisae_diffusion.selection.table import LatentTable

FACT = "presence"
STRENGTH = 1.0
"""Inverse strength of the ridge on standardised activations, scikit-learn's C."""
DIGITS = 7
"""Significant digits of the weights in a file."""

Means = Float64[np.ndarray, "step example width"]
Rows = Bool[np.ndarray, " example"]


@dataclass(frozen=True)
class Gate:
    """At one time: the concept is there where Σ weight · mean activation + bias > 0."""

    weights: Float64[np.ndarray, " width"]
    bias: float


def mean_activations(source: TokenSource, keep: TokenFilter, examples: Rows, axis: str = "timestep") -> Means:
    """Of every example, the mean activation over its content tokens at every step, conditioning columns left out; NaN
    where it has none."""
    hook = source.hook
    place, width, steps = hook.axes.index(axis), hook.own_width, len(hook.told[axis].ticks)
    total, count = np.zeros((steps, len(examples), width)), np.zeros((steps, len(examples)))
    for batch in source.sequential(keep, examples):
        content = (batch.role == 0).numpy()
        step, example = batch.coords[:, place].numpy()[content], batch.example.numpy()[content]
        np.add.at(total, (step, example), batch.values[:, :width].double().numpy()[content])
        np.add.at(count, (step, example), 1.0)
    return np.where(count[..., None] > 0, total / np.maximum(count, 1.0)[..., None], np.nan)


def fitted(table: LatentTable, means: Means, present: Rows, absent: Rows) -> LatentTable:
    """The table with a gate for every time, fitted on examples with the concept (`present`) and without it (`absent`),
    both sides counting alike. Raises DatasetError where a side has fewer than two examples."""
    if present.sum() < 2 or absent.sum() < 2:
        raise DatasetError(
            f"{present.sum()} examples with the concept and {absent.sum()} without it do not make a gate",
            "give examples of both on the side of the split that selects",
        )
    found = [_fit(one[present], one[absent]) for one in means]
    told = [{"weights": [_short(w) for w in gate.weights], "bias": _short(gate.bias)} for gate in found]
    return replace(table, facts={**table.facts, FACT: told})


def gates(table: LatentTable) -> list[Gate]:
    """The gates of a table that `fitted` made, by time. Raises DatasetError where it has none."""
    told: Any = table.facts.get(FACT)
    if not isinstance(told, list) or len(told) != len(table.times):
        raise DatasetError(
            f"the table of {table.concept!r} ({table.method}) holds no gate",
            "select it again with a gate, or set gated: false",
        )
    return [Gate(np.asarray(one["weights"], dtype=np.float64), float(one["bias"])) for one in told]


def rates(table: LatentTable, means: Means, present: Rows, absent: Rows) -> dict[str, float | int]:
    """On examples that fitted nothing: over all times, the share of those with the concept that the gate finds, and of
    the others that it mistakes for one; `ever mistaken` counts others that are mistaken at any time."""
    with np.errstate(invalid="ignore"):
        opened = np.stack([one @ gate.weights + gate.bias > 0 for one, gate in zip(means, gates(table), strict=True)])
    return {
        "found": float(opened[:, present].mean()),
        "n found": int(present.sum()),
        "mistaken": float(opened[:, absent].mean()),
        "ever mistaken": float(opened[:, absent].any(axis=0).mean()),
        "n mistaken": int(absent.sum()),
    }


def _fit(present: Float[np.ndarray, "example width"], absent: Float[np.ndarray, "example width"]) -> Gate:
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate([present, absent])
    y = np.repeat([1, 0], [len(present), len(absent)])
    known = ~np.isnan(x).any(axis=1)
    x, y = x[known], y[known]
    if len(set(y.tolist())) < 2:
        return Gate(np.zeros(x.shape[1]), -1.0)  # not read at this time: nothing speaks for the concept
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    found = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=2000).fit((x - mean) / scale, y)
    weights = found.coef_[0] / scale
    return Gate(weights, float(found.intercept_[0] - weights @ mean))


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
