"""Linear probes: logistic regression of a binary concept from columns."""

import warnings
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.studies.ranks import auroc

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""What full probes may choose their inverse L2 penalty from, on SELECT."""
FOLDS = 3
SMALL = 2_000_000
"""Values of a matrix up to which one thread fits a probe sooner than several, which wait for each other at every step:
twenty of 400 × 256 in 0.06 s, against 0.4 to 1.9 s by two threads on two cores that others used, too."""


def differences(values: Any, positive: Bool[np.ndarray, " row"]) -> Float[np.ndarray, " unit"]:
    """|mean of the positives − mean of the rest| / standard deviation of all, of every column of a matrix, dense or
    scipy-sparse; 0 where a column is constant. (Gurnee et al. 2023, the ranking by maximum mean difference; divided by
    the spread, so that units of another scale compare.)
    """
    n = len(positive)
    ones = positive.astype(np.float64)
    total, squares = (
        _sums(values, np.ones(n)),
        _sums(values.multiply(values) if _sparse(values) else values**2, np.ones(n)),
    )
    inside = _sums(values, ones)
    gap = inside / ones.sum() - (total - inside) / (n - ones.sum())
    spread = np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0.0))
    return np.where(spread > 1e-12, np.abs(gap) / np.where(spread > 1e-12, spread, 1.0), 0.0)


class Scaled:
    """Columns divided by their standard deviation on SELECT; dense ones centred, too. Constant columns become 0."""

    def __init__(self, values: Any) -> None:
        n = values.shape[0]
        mean = _sums(values, np.ones(n)) / n
        squares = _sums(values.multiply(values) if _sparse(values) else values.astype(np.float64) ** 2, np.ones(n)) / n
        spread = np.sqrt(np.maximum(squares - mean**2, 0.0))
        self.factor = np.where(spread > 1e-12, 1.0 / np.where(spread > 1e-12, spread, 1.0), 0.0)
        self.mean = mean

    def __call__(self, values: Any) -> Any:
        if _sparse(values):  # centring would fill it; the intercept takes up the shift
            from scipy.sparse import diags_array

            return (values @ diags_array(self.factor)).tocsr()
        return (np.asarray(values, dtype=np.float64) - self.mean) * self.factor


@cache
def _threads() -> Any:
    """What limits the threads of the libraries that scikit-learn brings along (looking for them takes a while)."""
    import sklearn.linear_model  # noqa: F401  # loads them
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def fit(values: Any, positive: Bool[np.ndarray, " row"], strength: float = 1.0) -> Any:
    """Logistic regression with an L2 penalty of inverse strength `strength` (scikit-learn's C), unregularised
    intercept."""
    from sklearn.linear_model import LogisticRegression

    few = np.prod(values.shape) <= SMALL
    with warnings.catch_warnings(), _threads().limit(limits=1) if few else nullcontext():
        warnings.simplefilter("ignore")  # a probe stopped at 500 steps is as good a probe: it is judged on TEST
        return LogisticRegression(C=strength, max_iter=500).fit(values, positive)


def choose_strength(values: Any, positive: Bool[np.ndarray, " row"], folds: Int[np.ndarray, " row"]) -> float:
    """The strength with the best mean AUROC when each fold of SELECT is told from the others."""
    scores = np.zeros(len(STRENGTHS))
    for fold in range(FOLDS):
        inside, outside = folds != fold, folds == fold
        if min(positive[inside].sum(), (~positive[inside]).sum()) == 0 or positive[outside].all():
            continue
        if not positive[outside].any():
            continue
        for number, strength in enumerate(STRENGTHS):
            probe = fit(values[inside], positive[inside], strength)
            scores[number] += auroc(probe.decision_function(values[outside])[:, None], positive[outside])[0]
    return STRENGTHS[int(scores.argmax())]


def judge(probe: Any, values: Any, positive: Bool[np.ndarray, " row"]) -> tuple[float, float]:
    """AUROC and accuracy."""
    found = probe.decision_function(values)
    return float(auroc(found[:, None], positive)[0]), float(((found > 0) == positive).mean())


def _sparse(values: Any) -> bool:
    return hasattr(values, "tocsr")


def _sums(values: Any, weight: Float[np.ndarray, " row"]) -> Float[np.ndarray, " unit"]:
    return np.asarray(values.T @ weight, dtype=np.float64).ravel()
