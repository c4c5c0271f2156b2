"""Drawing single cells: what they are, and how many molecules of each gene were counted."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from omnisae_datasets.cells.biology import BATCHES, BIOLOGY, DONORS, LYMPHOID, PROGRAMS, SHARES, STAGES

DISPERSION = 6.0
"""Shape of the gamma noise of each gene's rate: counts are negative binomial, variance μ + μ²/6."""
DEPTH = (1100.0, 800.0, 1400.0)
"""The median number of molecules counted in a cell, by batch."""


@dataclass(frozen=True)
class Cell:
    """What a cell is. `pseudotime` is its place on the lineage from 0 to 1, NaN off it; `programs` are the activities
    of the programs, 0 where one is off."""

    kind: str
    pseudotime: float
    programs: tuple[float, ...]
    batch: int
    donor: int

    @property
    def active(self) -> dict[str, bool]:
        """Which programs are on."""
        return {name: level > 0 for name, level in zip(PROGRAMS, self.programs, strict=True)}


def cell(seed: int, number: int) -> Cell:
    """A cell: the same however many are drawn."""
    random = np.random.default_rng([seed, number])
    kind = str(random.choice(list(SHARES), p=list(SHARES.values())))
    pseudotime = float("nan")
    if kind == "lineage":
        pseudotime = float(random.random())
        kind = STAGES[min(int(pseudotime * len(STAGES)), len(STAGES) - 1)]
    levels = 0.6 + random.gamma(3.0, 0.2, len(PROGRAMS))
    on = random.random(len(PROGRAMS)) < np.array(list(PROGRAMS.values()))
    batch = int(random.integers(len(BATCHES)))
    return Cell(kind, pseudotime, tuple(np.where(on, levels, 0.0).tolist()), batch, int(random.integers(DONORS)))


def rates(one: Cell) -> Float[np.ndarray, " gene"]:
    """The logarithm of each gene's rate, up to a constant."""
    log = BIOLOGY.base + BIOLOGY.batch[one.batch]
    for name, level in zip(PROGRAMS, one.programs, strict=True):
        _move(log, name, level)
    if one.kind not in STAGES:
        _move(log, one.kind, 1.3)
    if one.kind in LYMPHOID:
        _move(log, "lymphoid", 1.0)
    if np.isfinite(one.pseudotime):
        for centre, stage in zip((0.0, 0.5, 1.0), STAGES, strict=True):
            _move(log, stage, 1.5 * float(np.exp(-(((one.pseudotime - centre) / 0.25) ** 2))))
    return log


def counts(seed: int, number: int) -> Int[np.ndarray, " gene"]:
    """The molecules counted of each gene in a cell."""
    one, random = cell(seed, number), np.random.default_rng([seed, number, 1])
    rate = np.exp(rates(one))
    depth = DEPTH[one.batch] * np.exp(random.normal(0.0, 0.3))
    noisy = rate / rate.sum() * depth * random.gamma(DISPERSION, 1 / DISPERSION, len(rate))
    return random.poisson(noisy).astype(np.int32)


def _move(log: Float[np.ndarray, " gene"], name: str, level: float) -> None:
    rows = list(BIOLOGY.sets[name])
    log[rows] += level * BIOLOGY.reach[rows]
