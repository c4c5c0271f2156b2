"""How well a concept is gone and all else kept, as UnlearnCanvas measures it (Zhang et al. 2024): UA, IRA and CRA.

A domain is a kind of concept, such as objects or styles; a prompt asks for one concept of each domain, or of some.

- UA, unlearning accuracy: of pictures whose prompt asks for the erased concept, the share not judged to show it.
- IRA, in-domain retain accuracy: of pictures whose prompt asks for another concept of the erased one's domain, the
  share judged to show what was asked for.
- CRA, cross-domain retain accuracy: the share judged to show what was asked for in another domain, over the prompts of
  erased and retained concepts alike (as UnlearnCanvas counts), and over each of the two apart.

Beside the benchmark: each number has the unedited pictures of the same prompts and seeds beside it, and intervals by
bootstrap over whole prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from omnisae.errors import ConfigError, did_you_mean
from omnisae_diffusion.generated import Concept, Generated
from omnisae_diffusion.shares import Score, share

Rows = Bool[np.ndarray, " picture"]


@dataclass(frozen=True)
class Unlearning:
    """The numbers of one edited model. `by_concept` has UA of every erased concept and the accuracy of every other."""

    erased: tuple[Concept, ...]
    ua: Score
    ira: Score
    cra: Score
    cra_erased: Score
    cra_retained: Score
    by_concept: dict[Concept, Score]


@dataclass(frozen=True)
class Step:
    """After erasing `erased`, of which the last is new: UA of each of them, and the numbers of all together."""

    gone: dict[Concept, Score]
    all: Unlearning

    @property
    def erased(self) -> tuple[Concept, ...]:
        return self.all.erased

    @property
    def worst(self) -> Score:
        """The UA of the concept that is least gone."""
        return min(self.gone.values(), key=lambda score: score.value)


def unlearning(
    edited: Generated,
    erased: Sequence[Concept],
    unedited: Generated | None = None,
    *,
    seed: int = 0,
    times: int = 1000,
) -> Unlearning:
    """UA, IRA and CRA of pictures by an edited model, after one concept is erased or several at once.

    `unedited` are the same model's pictures without the edit, of the same prompts and seeds (in any order). With
    several concepts UA counts every pair of a picture and an erased concept that its prompt asks for; IRA counts
    prompts that ask for no erased concept, in the domains of the erased ones; CRA counts, for every erased concept's
    domain, what the prompts ask for in the other domains, erased concepts left out.

    Raises ConfigError where no prompt asks for an erased concept, DatasetError where `unedited` does not pair.
    """
    erased = tuple(dict.fromkeys(erased))
    _check(edited, erased)
    before = None if unedited is None else unedited.paired(edited)
    count = _Counting(edited, before, seed, times)
    touched = np.any([edited.asks(one) for one in erased], axis=0)
    domains = tuple(dict.fromkeys(one.domain for one in erased))
    own = [(one.domain, edited.asks(one)) for one in erased]
    others = [(domain, ~touched) for domain in domains]
    across, across_erased, across_kept = [], [], []
    for domain in domains:
        here = np.any([edited.asks(one) for one in erased if one.domain == domain], axis=0)
        for other in edited.domains:
            kept = ~np.any([edited.asks(one) for one in erased if one.domain == other] or [np.zeros_like(here)], axis=0)
            if other != domain:
                across.append((other, kept))
                across_erased.append((other, kept & here))
                across_kept.append((other, kept & ~here))
    return Unlearning(
        erased=erased,
        ua=count("UA", own, wrong=True),
        ira=count("IRA", others),
        cra=count("CRA", across),
        cra_erased=count("CRA, prompts of the erased", across_erased),
        cra_retained=count("CRA, other prompts", across_kept),
        by_concept={
            one: count(str(one), [(one.domain, edited.asks(one))], wrong=one in erased) for one in edited.concepts
        },
    )


def sequence(
    steps: Sequence[Generated],
    order: Sequence[Concept],
    unedited: Generated | None = None,
    *,
    seed: int = 0,
    times: int = 1000,
) -> list[Step]:
    """The numbers after each step of erasing one concept after another: `steps[i]` are pictures by the model in which
    `order[: i + 1]` are erased. Whether a concept erased early is still gone later stands in each step's `gone`.

    Raises ConfigError where there are not as many steps as concepts, and as `unlearning` does.
    """
    if len(steps) != len(order):
        raise ConfigError(
            f"{len(steps)} sets of pictures for {len(order)} concepts erased in turn", "give the pictures of every step"
        )
    found = []
    for at, pictures in enumerate(steps):
        numbers = unlearning(pictures, order[: at + 1], unedited, seed=seed, times=times)
        found.append(Step({one: numbers.by_concept[one] for one in numbers.erased}, numbers))
    return found


class _Counting:
    """Shares over pairs of a picture and a domain in which it is judged."""

    def __init__(self, edited: Generated, before: Generated | None, seed: int, times: int) -> None:
        self.edited, self.before, self.seed, self.times = edited, before, seed, times

    def __call__(self, name: str, parts: Sequence[tuple[str, Rows]], wrong: bool = False) -> Score:
        """The share, over the pictures of all parts whose prompt asks for something in the part's domain, that is
        judged to show it (or, for `wrong`, judged not to)."""
        hits, base, prompts = [], [], []
        for domain, rows in parts:
            at = np.flatnonzero(rows & self.edited.asked_in(domain))
            hits.append(self.edited.shows(domain)[at] != wrong)
            prompts.append(self.edited.prompt_array[at])
            if self.before is not None:
                base.append(self.before.shows(domain)[at] != wrong)
        return share(
            name,
            np.concatenate([np.zeros(0, dtype=bool), *hits]),
            np.concatenate([np.zeros(0, dtype=self.edited.prompt_array.dtype), *prompts]),
            None if self.before is None else np.concatenate([np.zeros(0, dtype=bool), *base]),
            seed=self.seed,
            times=self.times,
        )


def _check(edited: Generated, erased: tuple[Concept, ...]) -> None:
    if not erased:
        raise ConfigError("no erased concept is named", "name at least one, e.g. digit=7")
    for one in erased:
        if one not in edited.concepts:
            raise ConfigError(
                f"no prompt asks for the erased concept {str(one)!r}",
                did_you_mean(str(one), map(str, edited.concepts)),
            )
