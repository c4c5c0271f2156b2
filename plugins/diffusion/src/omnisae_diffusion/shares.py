"""Shares of judged pictures with their intervals, alone and against the same pictures without the edit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import binomtest

from omnisae.studies.resample import LEVELS
from omnisae.studies.study import Finding

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Score:
    """A share of `n` pictures of `prompts` prompts, with its 95 % interval; NaN where n is 0.

    `unedited` is the same share of the unedited pictures, `change` the edited minus the unedited one in points
    (hundredths), with its interval; NaN where there are none. A loss of 3 points is a change of −3.
    """

    name: str
    value: float
    n: int
    prompts: int
    low: float
    high: float
    unedited: float = NAN
    change: float = NAN
    change_low: float = NAN
    change_high: float = NAN

    def finding(self) -> Finding:
        """The number as a study tells it, with the unedited pictures as its control."""
        said = f"{self.prompts} prompts"
        if not np.isnan(self.change):
            said += f"; {self.change:+.1f} points ({self.change_low:+.1f} to {self.change_high:+.1f})"
        return Finding(
            self.name,
            self.value,
            self.n,
            self.unedited,
            "" if np.isnan(self.unedited) else "the unedited pictures of the same prompts and seeds",
            self.low,
            self.high,
            kind="share",
            remark=said.replace("-", "−"),
        )


def share(
    name: str,
    hits: Bool[np.ndarray, " picture"],
    prompts: Shaped[np.ndarray, " picture"],
    unedited: Bool[np.ndarray, " picture"] | None = None,
    *,
    seed: int = 0,
    times: int = 1000,
) -> Score:
    """The share of hits, with the percentile interval of a bootstrap that draws whole prompts with all their pictures.

    Pictures of one prompt hang together, so prompts are drawn, not pictures; of a single prompt pictures are drawn.
    Where all pictures are hits, or none is, every draw gives the same: the interval is then Clopper and Pearson's
    exact one over pictures, which a bootstrap would make a point. The order of pictures decides nothing.
    """
    if not len(hits):
        return Score(name, NAN, 0, 0, NAN, NAN)
    found, owner = np.unique(prompts, return_inverse=True)
    drawn = _drawn(owner, len(found), hits, unedited, np.random.default_rng([seed, *name.encode()]), times)
    value = float(hits.mean())
    low, high = _interval(drawn[0]) if 0 < value < 1 else exact(int(hits.sum()), len(hits))
    if unedited is None:
        return Score(name, value, len(hits), len(found), low, high)
    before = float(unedited.mean())
    change_low, change_high = _interval(100 * (drawn[0] - drawn[1]))
    return Score(name, value, len(hits), len(found), low, high, before, 100 * (value - before), change_low, change_high)


def exact(hits: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share; NaN where n is 0."""
    if n == 0:
        return NAN, NAN
    found = binomtest(hits, n).proportion_ci(LEVELS[1] - LEVELS[0], method="exact")
    return float(found.low), float(found.high)


def _drawn(
    owner: Int[np.ndarray, " picture"],
    count: int,
    hits: Bool[np.ndarray, " picture"],
    unedited: Bool[np.ndarray, " picture"] | None,
    random: np.random.Generator,
    times: int,
) -> list[Float[np.ndarray, " time"]]:
    """The share in every draw, of the edited and of the unedited pictures, both by the same draws."""
    if count == 1:
        # Sorted as pairs, so that the order in which the pictures came decides nothing.
        order = np.lexsort((hits, unedited if unedited is not None else hits))
        hits, unedited = hits[order], unedited[order] if unedited is not None else None
        owner, count = np.arange(len(hits)), len(hits)
    weight = random.multinomial(count, np.full(count, 1 / count), size=times)
    n = weight @ np.bincount(owner, minlength=count)
    sides = [hits] if unedited is None else [hits, unedited]
    return [weight @ np.bincount(owner, weights=side, minlength=count) / n for side in sides]


def _interval(drawn: Float[np.ndarray, " time"]) -> tuple[float, float]:
    low, high = np.quantile(drawn, LEVELS)
    return float(low), float(high)
