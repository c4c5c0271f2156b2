"""What is planted: gene sets, cell types, a lineage, programs, batches. All of it is the same for every seed."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float

TYPES = ("T cell", "B cell", "NK cell", "monocyte")
"""Types apart from the lineage, each with marker genes of its own."""
STAGES = ("progenitor", "erythroblast", "erythrocyte")
"""The lineage's types: thirds of its pseudotime."""
SHARES = {"T cell": 0.2, "B cell": 0.15, "NK cell": 0.1, "monocyte": 0.2, "lineage": 0.35}
LYMPHOID = ("T cell", "B cell", "NK cell")

PROGRAMS = {
    "hypoxia": 0.16,
    "interferon": 0.2,
    "heat_shock": 0.12,
    "cell_cycle": 0.2,
    "glycolysis": 0.16,
    "inflammation": 0.16,
    "apoptosis": 0.12,
    "lipid": 0.14,
}
"""The chance that a program is active in a cell, whatever its type."""
BATCHES = ("batch1", "batch2", "batch3")
DONORS = 3
"""Donors of each batch."""

_PREFIX = {
    "T cell": "TCL", "B cell": "BCL", "NK cell": "NKC", "monocyte": "MON", "lymphoid": "LYM",
    "progenitor": "PRO", "erythroblast": "EBL", "erythrocyte": "ERY",
    "hypoxia": "HYP", "interferon": "IFN", "heat_shock": "HSP", "cell_cycle": "CYC", "glycolysis": "GLY",
    "inflammation": "INF", "apoptosis": "APO", "lipid": "LIP", "housekeeping": "HKG", "background": "BKG",
}  # fmt: skip
_SIZES = {"lymphoid": 16, "housekeeping": 40, "background": 154}
_EACH = 18
DECOYS = 20
"""Sets of genes drawn at random, of a program's size: nothing holds them together."""


@dataclass(frozen=True)
class Biology:
    """The genes, and how strongly (in natural logarithms of the rate) each is moved by what."""

    sets: dict[str, tuple[int, ...]] = field(init=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        sets: dict[str, tuple[int, ...]] = {}
        names: list[str] = []
        for kind, prefix in _PREFIX.items():
            size = _SIZES.get(kind, _EACH)
            sets[kind] = tuple(range(len(names), len(names) + size))
            names += [f"{prefix}{i + 1:02d}" for i in range(size)]
        object.__setattr__(self, "sets", sets)
        object.__setattr__(self, "names", tuple(names))

    @cached_property
    def base(self) -> Float[np.ndarray, " gene"]:
        """Every gene's own level."""
        level = _fixed("base").normal(0.0, 0.9, len(self.names))
        level[list(self.sets["housekeeping"])] += 1.6
        return level

    @cached_property
    def reach(self) -> Float[np.ndarray, " gene"]:
        """How strongly each gene follows the one set that it belongs to."""
        return _fixed("reach").uniform(0.5, 1.3, len(self.names))

    @cached_property
    def batch(self) -> Float[np.ndarray, "batch gene"]:
        """What a batch does to each gene: 60 of them are moved, from all sets."""
        random = _fixed("batch")
        moved = random.permutation(len(self.names))[:60]
        effect = np.zeros((len(BATCHES), len(self.names)))
        effect[:, moved] = random.normal(0.0, 0.4, (len(BATCHES), 60))
        return effect

    @cached_property
    def gene_sets(self) -> dict[str, tuple[str, ...]]:
        """The sets of the GMT file: all planted ones, and decoys."""
        random = _fixed("decoys")
        known = {name.replace(" ", "_"): rows for name, rows in self.sets.items() if name != "background"}
        decoys = {
            f"decoy_{i + 1:02d}": tuple(sorted(random.permutation(len(self.names))[:_EACH].tolist()))
            for i in range(DECOYS)
        }
        return {name: tuple(self.names[row] for row in rows) for name, rows in (known | decoys).items()}


def _fixed(what: str) -> np.random.Generator:
    """Random numbers that belong to the biology, not to a seed: a model trained on one seed knows the genes of all."""
    return np.random.default_rng([20_240, *what.encode()])


BIOLOGY = Biology()
