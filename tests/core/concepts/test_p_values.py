"""p-values: uniform where labels mean nothing, small where they mean something, and those of a slow reference."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

from omnisae.concepts.annotations import Interval, Region
from omnisae.concepts.examine import examine
from omnisae.concepts.gather import gather
from omnisae.concepts.labels import Labels, whole_labels
from omnisae.concepts.level import Level
from omnisae.concepts.permute import ENOUGH, Shuffles, class_p_values, p_values
from omnisae.concepts.pick import Picks
from omnisae.concepts.regions import region_labels
from omnisae.concepts.stream import Stream, Truth, stream
from omnisae.concepts.weigh import sort, weigh
from omnisae.extract.split import SELECT, TEST

LATENTS, CONCEPTS, EXAMPLES = 30, 15, 40
BAR = 0.045
"""The Kolmogorov–Smirnov distance of 2,700 p-values: pairs share latents and concepts, so they count for fewer."""


def every_pair(level: Level, sign: float = 1.0) -> Picks:
    number, latent = np.meshgrid(np.arange(len(level.labels.concepts)), np.arange(LATENTS), indexing="ij")
    n = number.size
    return Picks(latent.ravel(), number.ravel(), np.zeros(n), np.zeros(n), np.full(n, sign))


def level_of(labels: Labels, postings: Any, block: np.ndarray) -> Level:
    every = range(len(labels.concepts))
    fractions = tuple(i for i in every if i in labels.fractions)
    select, test = (stream(labels, postings, side, block) for side in (SELECT, TEST))
    return Level(labels, select, test, tuple(i for i in every if i not in fractions), fractions)


def null_p_values(
    tmp_path: Path, world_of: Callable[..., Any], kind: str, sizes: np.ndarray, block: np.ndarray, seed: int
) -> np.ndarray:
    """p-values of all pairs in a world where codes hang together within examples, and so do labels, but not with each
    other; permuted labels, that is."""
    rng = np.random.default_rng(seed)
    split = np.full(EXAMPLES, TEST)
    strength = rng.random((EXAMPLES, LATENTS)) * (rng.random((EXAMPLES, LATENTS)) < 0.6)
    example = np.repeat(np.arange(EXAMPLES), sizes)
    codes = np.round(strength[example] * (rng.random((len(example), LATENTS)) < 0.9), 1)  # many ties
    names = [f"c{i}" for i in range(CONCEPTS)]
    if kind == "token":
        runs = {name: rng.random(EXAMPLES) < 0.5 for name in names}
        begin = rng.integers(0, 3, (EXAMPLES, CONCEPTS))
        world = world_of(
            codes,
            sizes,
            split,
            regions=lambda row: [
                Region(name, 0, Interval("position", int(begin[row, i]), int(begin[row, i]) + 4))
                for i, name in enumerate(names)
                if runs[name][row]
            ],
            region_concepts=names,
        )
        postings = world.postings(tmp_path / "codes")
        dataset = world.dataset()
        labels = region_labels(postings, dataset.annotations(), dataset, world.extractor(), 0.5)
    else:
        columns = (rng.random((CONCEPTS, EXAMPLES)) < 0.4).astype(float)
        if kind == "fraction":
            columns = np.round(rng.random((CONCEPTS, EXAMPLES)), 1)
        columns[rng.random(columns.shape) < 0.1] = np.nan
        world = world_of(codes, sizes, split, labels=dict(zip(names, columns, strict=True)))
        postings = world.postings(tmp_path / "codes")
        labels = whole_labels(postings, world.dataset().annotations())
    level = level_of(labels, postings, block)
    return examine(postings, level, every_pair(level, rng.choice([-1.0, 1.0])), permutations=199, seed=seed).p


@pytest.mark.parametrize("kind", ["token", "binary", "fraction"])
@pytest.mark.parametrize("layout", ["equal", "ragged", "grouped"])
def test_permuted_labels_give_uniform_p_values(
    tmp_path: Path, world_of: Callable[..., Any], kind: str, layout: str
) -> None:
    rng = np.random.default_rng(11)
    sizes = np.full(EXAMPLES, 6) if layout == "equal" else rng.integers(4, 9, EXAMPLES)
    # blocks of a group hold independent examples here, so the null holds for them as well
    block = np.arange(EXAMPLES) if layout != "grouped" else np.arange(EXAMPLES) // 2
    found = np.concatenate(
        [null_p_values(tmp_path / str(seed), world_of, kind, sizes, block, seed) for seed in range(6)]
    )
    p = found[~np.isnan(found)]
    assert len(p) > 2000
    assert ((p > 0) & (p < 1)).all()
    assert kstest(p, "uniform").statistic < BAR


def test_the_bar_would_catch_tokens_permuted_one_by_one(
    tmp_path: Path, world_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels and codes hang together within an example: permuted apart, chance looks like skill."""
    whole = Stream.truth

    def apart(self: Stream, number: int) -> Truth:
        found = whole(self, number)
        return replace(found, blocks=np.arange(found.n + 1))

    monkeypatch.setattr(Stream, "truth", apart)
    sizes = np.full(EXAMPLES, 6)
    p = null_p_values(tmp_path, world_of, "token", sizes, np.arange(EXAMPLES), 0)
    assert kstest(p, "uniform").statistic > 2 * BAR


def test_the_early_stop_is_uniform_too() -> None:
    """The rank of an observed value among exchangeable ones, run through the very rule of the stop."""
    rng = np.random.default_rng(0)
    runs, most = 20_000, 199
    quantile = rng.random(runs)
    beaten = (rng.random((runs, most)) < quantile[:, None]).cumsum(axis=1)
    stopped = beaten[:, -1] >= ENOUGH
    drawn = np.where(stopped, (beaten < ENOUGH).sum(axis=1) + 1, most)
    exceeded = np.minimum(beaten[:, -1], ENOUGH)
    p = p_values(exceeded, drawn, rng.integers(0, 2**63, runs).astype(np.uint64))
    assert kstest(p, "uniform").pvalue > 1e-3
    assert (p[~stopped] <= (ENOUGH + 1) / (most + 1)).all()


def slow_sums(dense: np.ndarray, labels: np.ndarray, blocks: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Rank sums of the labels laid anew, one permutation at a time."""
    from scipy.stats import rankdata

    ranks = rankdata(dense)
    sums = []
    for lane in starts:
        laid = np.full(len(labels), -1)
        for b, start in enumerate(lane):
            part = labels[blocks[b] : blocks[b + 1]]
            laid[start : start + len(part)] = part
        assert (laid >= 0).all(), "a permutation covers the stream exactly"
        sums.append((ranks * laid).sum())
    return np.array(sums)


@pytest.mark.parametrize("dense_labels", [False, True])
def test_exceedances_are_those_of_plain_loops(tmp_path: Path, world_of: Callable[..., Any], dense_labels: bool) -> None:
    rng = np.random.default_rng(5)
    examples, permutations = 30, 70
    sizes = rng.integers(1, 6, examples)
    # values without ties in the statistic, and labels that match the codes: no coin and no early stop takes part
    column = (rng.random(examples) < (0.8 if dense_labels else 0.3)).astype(float)
    example = np.repeat(np.arange(examples), sizes)
    codes = (column[example] + rng.random(len(example)) * 2.5)[:, None]
    world = world_of(
        codes,
        sizes,
        np.full(examples, TEST),
        regions=lambda row: [Region("c", 0, Interval("position", 0, 99))] if column[row] else [],
        region_concepts=["c"],
    )
    postings = world.postings(tmp_path / "codes")
    dataset = world.dataset()
    labels = region_labels(postings, dataset.annotations(), dataset, world.extractor(), 0.5)
    side: Stream = stream(labels, postings, TEST, np.arange(examples))
    truth = side.truth(0)
    shuffles = Shuffles(truth.blocks, permutations, seed=3)
    weighed = weigh(sort(gather(postings, side, np.array([0]))), truth)
    weights = np.zeros(truth.n)
    weights[weighed.place] = weighed.weight
    observed = np.array([int(weights[truth.positives].sum())])
    sums = slow_sums(codes[:, 0], (truth.mark > 0).astype(int), truth.blocks, shuffles.starts(0, permutations))
    here = slow_sums(codes[:, 0], (truth.mark > 0).astype(int), truth.blocks, truth.blocks[None, :-1])[0]
    greater, equal = int((sums > here).sum()), int((sums == here).sum())
    assert greater + equal < ENOUGH, "the case was made so"
    p = class_p_values(weighed, truth, observed, np.array([7], dtype=np.uint64), shuffles)[0]
    assert greater / (permutations + 1) <= p <= (greater + equal + 1) / (permutations + 1)


def test_p_values_do_not_depend_on_which_rows_stand_beside(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    codes = rng.random((EXAMPLES, LATENTS)) * (rng.random((EXAMPLES, LATENTS)) < 0.4)
    labels = {f"c{i}": (rng.random(EXAMPLES) < 0.4).astype(float) for i in range(3)}
    world = world_of(codes, [1] * EXAMPLES, np.full(EXAMPLES, TEST), labels=labels)
    postings = world.postings(tmp_path / "codes")
    level = level_of(whole_labels(postings, world.dataset().annotations()), postings, np.arange(EXAMPLES))
    picks = every_pair(level)
    whole = examine(postings, level, picks, permutations=199, seed=0).p
    some = np.flatnonzero(rng.random(len(picks)) < 0.3)
    part = Picks(*(getattr(picks, name)[some] for name in Picks.__annotations__))
    assert examine(postings, level, part, permutations=199, seed=0).p == pytest.approx(whole[some], abs=0)
