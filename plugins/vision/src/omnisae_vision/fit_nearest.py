"""The model of a library that comes nearest to a checkpoint which does not fit the one that was named."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from torch import nn

from omnisae_vision.fit import Shapes, likeness, names_in_common, shapes

SECONDS = 10.0
"""How long each half of the search may take: it delays an error message."""
NEAR = 0.97
"""Likeness with which the search is content: heads differ in their classes, positions in the picture's size."""
FAR = 0.5
"""Likeness below which no model is called near."""


@dataclass(frozen=True)
class Library:
    """Models by family: those of a family share their tensors' names. `build` makes one; only its shapes are read."""

    families: Callable[[], dict[str, Sequence[str]]]
    build: Callable[[str], nn.Module]


def nearest(found: Shapes, library: Library, asked: str, seconds: float | None = None) -> tuple[str, float] | None:
    """The model most like a checkpoint and the share of tensors that agree; None where none comes near.

    Of each family one model is compared by names; in the families that agree best, every model by names and shapes,
    those first whose names are like `asked`, until the time is over.
    """
    families = library.families()
    own = next((name for name, models in families.items() if asked in models), None)
    order = sorted(families, key=lambda name: name != own)
    allowed = SECONDS if seconds is None else seconds
    until = time.monotonic() + allowed
    agreeing: list[tuple[float, str]] = []
    for family in order:
        known = _shapes(library, asked if family == own else min(families[family], key=len))
        agreeing.append((names_in_common(known, found) if known else 0.0, family))
        if time.monotonic() > until or (family == own and agreeing[-1][0] > 0.5):
            break
    best, until = ("", 0.0), time.monotonic() + allowed
    for model in _by_likeness(asked, [m for _, family in sorted(agreeing, reverse=True)[:2] for m in families[family]]):
        known = _shapes(library, model)
        if known and (now := likeness(known, found)) > best[1]:
            best = (model, now)
        if best[1] > NEAR or time.monotonic() > until:
            break
    return best if best[1] >= FAR else None


def advice(found: Shapes, library: Library, asked: str) -> str:
    """The nearest model as a remedy."""
    best = nearest(found, library, asked)
    if best is None or best[0] == asked:
        return f"no model was found that comes nearer than {asked!r}: name the model that the checkpoint was saved from"
    name, share = best
    return f"did you mean model: {name}? {share:.0%} of its tensors agree by name and shape"


def _shapes(library: Library, name: str) -> Shapes | None:
    """Shapes of a model that takes no memory; None where it cannot be built so."""
    try:
        with silent(), torch.device("meta"):
            return shapes(library.build(name).state_dict())
    except Exception:  # a model that needs what is not installed, or cannot be made without memory
        return None


def _by_likeness(asked: str, models: Iterable[str]) -> Iterator[str]:
    yield from sorted(models, key=lambda name: -SequenceMatcher(None, asked, name).ratio())


@contextmanager
def silent() -> Iterator[None]:
    """Libraries log that models have random weights, which is meant here, or told by the extractor itself.

    The handler keeps their first word from setting up logging for the whole program.
    """
    before, nobody = logging.root.manager.disable, logging.NullHandler()
    logging.disable(logging.ERROR)
    logging.root.addHandler(nobody)
    try:
        yield
    finally:
        logging.disable(before)
        logging.root.removeHandler(nobody)
