"""Chance by whole groups: bootstrap draws, permutations, and what follows from them."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Int

from omnisae.studies.study import Material

LEVELS = (0.025, 0.975)
"""The ends of an interval that holds 95 %."""


def generator(material: Material, name: str) -> np.random.Generator:
    """Random numbers that depend on the split's seed and a name alone."""
    return np.random.default_rng([material.seed, *name.encode()])


def members(material: Material, rows: Int[np.ndarray, " row"]) -> list[Int[np.ndarray, " position"]]:
    """The positions of each group among `rows`, in the order in which groups first appear."""
    if material.groups is None:
        return [np.array([at]) for at in range(len(rows))]
    _, first, group = np.unique(np.asarray(material.groups)[rows], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    order = np.argsort(rank[group], kind="stable")
    return np.split(order, np.cumsum(np.bincount(rank[group]))[:-1])


def permutations(
    material: Material, rows: Int[np.ndarray, " row"], times: int, random: np.random.Generator
) -> Iterator[Int[np.ndarray, " row"]]:
    """`times` shuffles of the positions of `rows`: position i is given what stood at `shuffle[i]`.

    Where every example is its own group these are all permutations; otherwise the groups are put in another order and
    their members laid out again, so that what hangs together within a group stays so.
    """
    if material.groups is None:
        for _ in range(times):
            yield random.permutation(len(rows))
        return
    groups = members(material, rows)
    place = np.concatenate(groups)
    for _ in range(times):
        laid = np.concatenate([groups[at] for at in random.permutation(len(groups))])
        shuffle = np.empty(len(rows), dtype=np.int64)
        shuffle[place] = laid
        yield shuffle


def weights(
    material: Material, rows: Int[np.ndarray, " row"], times: int, random: np.random.Generator
) -> Float[np.ndarray, "time row"]:
    """How often each of `rows` stands in each bootstrap draw of groups."""
    groups = members(material, rows)
    owner = np.empty(len(rows), dtype=np.int64)
    for number, positions in enumerate(groups):
        owner[positions] = number
    drawn = random.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=times)
    return drawn[:, owner].astype(np.float64)


def folds(material: Material, rows: Int[np.ndarray, " row"], count: int) -> Int[np.ndarray, " row"]:
    """The fold, 0 to `count` − 1, of each of `rows`; groups stay whole."""
    groups = members(material, rows)
    out = np.zeros(len(rows), dtype=np.int64)
    for place, number in enumerate(generator(material, "folds").permutation(len(groups))):
        out[groups[number]] = place % count
    return out


def interval(
    values: Float[np.ndarray, " item"],
    random: np.random.Generator,
    statistic: Callable[..., np.ndarray] = np.mean,
    times: int = 1000,
) -> tuple[float, float]:
    """The 95 % bootstrap interval of a statistic over items drawn again; NaN where fewer than two are known."""
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return float("nan"), float("nan")
    drawn = known[random.integers(0, len(known), (times, len(known)))]
    low, high = np.quantile(statistic(drawn, axis=1), LEVELS)
    return float(low), float(high)


def in_pairs(
    values: Float[np.ndarray, " item"], controls: Float[np.ndarray, " item"], random: np.random.Generator
) -> str:
    """How values stand beside their controls, item by item, as a remark: for how many they are larger, and the mean
    difference with its interval. Items whose control is not known count for nothing."""
    gap = np.asarray(values - controls)
    gap = gap[~np.isnan(gap)]
    said = f"larger for {int((gap > 0).sum())} of {len(gap)}"
    if len(gap) < 2:
        return said
    low, high = interval(gap, random)
    return f"{said}; difference {gap.mean():+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "−")


def p_value(observed: float, null: Float[np.ndarray, " time"]) -> float:
    """The chance of a value at least as large under the null, (1 + exceedances) / (1 + draws): never 0."""
    return float((1 + (null >= observed).sum()) / (1 + len(null)))
