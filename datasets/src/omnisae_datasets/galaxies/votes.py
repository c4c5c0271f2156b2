"""Simulated volunteers: what they answer of a galaxy, question by question down the tree."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from omnisae_datasets.galaxies.morphology import Galaxy
from omnisae_datasets.galaxies.tree import TREE

VOLUNTEERS = (36, 44)
"""How many look at a galaxy: at least, at most."""


def votes(one: Galaxy, seed: int) -> dict[str, int]:
    """Votes for every answer of every question, as a catalogue counts them; all zero where a question was not asked.

    A question is put to those volunteers alone whose answer leads to it, and each answers for themselves.
    """
    random = np.random.default_rng([seed, one.number, 13])
    chance = chances(one)
    count: dict[str, int] = {}
    everyone = int(random.integers(VOLUNTEERS[0], VOLUNTEERS[1] + 1))
    for question in TREE:
        asked = everyone if question.after is None else count[question.after]
        given = random.multinomial(asked, chance[question.name])
        count |= {column: int(n) for column, n in zip(question.columns, given, strict=True)}
    return count


def chances(one: Galaxy) -> Mapping[str, Float[np.ndarray, " answer"]]:
    """How likely a volunteer is to give each answer, were they asked. What is hard to see is seen by fewer."""
    seen = 0.6 + 0.4 * one.visibility
    featured = 0.93 * seen
    first = {
        "smooth": [0.93, 0.05, 0.02],
        "featured": [0.98 - featured, featured, 0.02],
        "star": [0.05, 0.03, 0.92],
    }[one.kind]
    disc = one.kind == "featured"
    edge = 0.95 if one.edge_on else 0.05
    arms = 0.94 * seen if one.arms else 0.06
    bar = min(0.5 + 0.55 * one.bar, 0.95) * seen if one.bar else 0.08
    turn = 0.94 if one.clockwise else 0.06
    counted = {0: [0.6, 0.25, 0.15], 2: [0.88, 0.09, 0.03], 3: [0.13, 0.76, 0.11], 4: [0.06, 0.2, 0.74]}[one.arms]
    merging = 0.88 if one.companion is not None else 0.05
    return {
        "smooth-or-featured": np.array(first),
        "how-rounded": _nearest(one.ratio, (0.92, 0.65, 0.36), 0.13),
        "disk-edge-on": np.array([edge, 1 - edge]),
        "bar": np.array([bar, 1 - bar]),
        "bulge-size": _nearest(np.sqrt(one.bulge) if disc else 0.6, (0.24, 0.5, 0.72), 0.12),
        "has-spiral-arms": np.array([arms, 1 - arms]),
        "spiral-direction": np.array([turn, 1 - turn]) if one.arms else np.array([0.5, 0.5]),
        "spiral-arm-count": np.array(counted) / sum(counted),
        "merging": np.array([1 - merging, merging]),
    }


def _nearest(value: float, centres: Sequence[float], width: float) -> Float[np.ndarray, " answer"]:
    """Answers on a scale: the nearer a word's meaning, the likelier; a few always err."""
    near = np.exp(-0.5 * ((value - np.asarray(centres)) / width) ** 2) + 1e-9
    share = near / near.sum()
    return np.asarray(0.94 * share + 0.06 / len(centres))


def fractions(count: Mapping[str, int], least: int) -> Float[np.ndarray, " answer"]:
    """The fraction of votes for every answer of the tree; NaN where fewer than `least` were asked the question."""
    out: list[float] = []
    for question in TREE:
        total = sum(count[column] for column in question.columns)
        out += [count[column] / total if total >= least else float("nan") for column in question.columns]
    return np.array(out)
