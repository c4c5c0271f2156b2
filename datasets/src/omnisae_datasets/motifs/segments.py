"""Segments of proteins: sites with their pools, and the features that UniProt would tell of them.

Motifs are PROSITE's: C2H2 fingers PS00028, P-loop PS00017, N-glycosylation PS00001, trypsin's histidine and serine
PS00134 and PS00135, zinc proteases PS00142; phosphorylation sites of PKA are R-R-x-S.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Site:
    """One residue to be: the pool it is drawn from, and whether it may be lost and have others put in behind it."""

    pool: str
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Feature:
    """A UniProt feature: its key, first and last site (counted from 0, both within), and its qualifiers.

    A disulfide bond names the two bonded residues by its ends.
    """

    key: str
    first: int
    last: int
    note: str = ""
    ligand: str = ""


@dataclass
class Chain:
    """A protein in the making: sites in order, features over them. Every method appends and returns nothing."""

    rng: np.random.Generator
    sites: list[Site] = field(default_factory=list)
    features: list[Feature] = field(default_factory=list)

    def add(self, pools: Iterable[str], loose: bool = False) -> tuple[int, int]:
        """Sites from pools; the first and the last of them."""
        first = len(self.sites)
        self.sites += [Site(pool, loose) for pool in pools]
        return first, len(self.sites) - 1

    def tell(self, key: str, where: tuple[int, int], note: str = "", ligand: str = "") -> None:
        self.features.append(Feature(key, *where, note, ligand))

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def spanned(self, key: str, note: str, inner: Callable[[], None]) -> None:
        """A feature over all that `inner` adds."""
        first = len(self.sites)
        inner()
        self.tell(key, (first, len(self.sites) - 1), note)

    def loop(self, low: int = 3, high: int = 7, pool: str = "loop") -> None:
        self.add([pool] * self.between(low, high), loose=True)

    def helix(self, low: int = 11, high: int = 18) -> tuple[int, int]:
        """Amphipathic: a turn of 3.6 residues."""
        turn = self.rng.uniform(0, 2 * np.pi)
        length = self.between(low, high)
        inward = [np.cos(turn + np.deg2rad(100) * i) > 0.1 for i in range(length)]
        where = self.add("helix_in" if yes else "helix_out" for yes in inward)
        self.tell("HELIX", where)
        return where

    def strand(self, low: int = 5, high: int = 8) -> tuple[int, int]:
        """Every second residue turned inward."""
        first = self.between(0, 1)
        pools = ("strand_in", "strand_out")
        where = self.add(pools[(i + first) % 2] for i in range(self.between(low, high)))
        self.tell("STRAND", where)
        return where

    def start(self) -> None:
        """The first methionine of a protein that stays within the cell."""
        self.add("M")
        self.loop(2, 6)

    def signal(self) -> None:
        """n-region, h-region, c-region and the cleavage site A-x-A."""
        n, h, c = self.between(1, 3), self.between(9, 13), self.between(3, 5)
        where = self.add(["M", *["KR"] * n, *["signal_h"] * h, *["signal_c"] * c, "A", "LSQVT", "AG"])
        self.tell("SIGNAL", where)
        self.loop(2, 5)

    def finger(self) -> None:
        """C-x(2)-C-x(3)-F-x(5)-L-x(2)-H-x(3,4)-H, zinc between the cysteines and the histidines."""
        x = ["finger"]
        where = self.add(
            ["YF", *x, "C", *x * 2, "C", *x * 3, "F", *x * 5, "L", *x * 2, "H", *x * self.between(3, 4), "H"]
        )
        first, last = where[0] + 2, where[1]
        self.tell("ZN_FING", (first, last), "C2H2-type")
        pools = [site.pool for site in self.sites[first : last + 1]]
        for i in (0, 3, pools.index("H"), len(pools) - 1):
            self.tell("BINDING", (first + i, first + i), ligand="Zn(2+)")

    def p_loop(self) -> None:
        """[AG]-x(4)-G-K-[ST] between a strand and a helix."""
        self.strand(5, 6)
        where = self.add(["GGA", *["nucleotide"] * 4, "G", "K", "ST"])
        self.tell("BINDING", where, ligand="ATP")
        self.helix()

    def walker_b(self) -> None:
        """Four hydrophobic residues, then D-E."""
        where = self.add(["strand_in"] * 4 + ["D", "E"])
        self.tell("MOTIF", where, "Walker B")

    def sequon(self) -> None:
        """N-{P}-[ST]-{P}: a sugar at the asparagine."""
        where = self.add(["N", "GSTADVK", "STT", "GSTADVK"])
        self.tell("CARBOHYD", (where[0], where[0]), "N-linked (GlcNAc...) asparagine")

    def phosphosite(self) -> None:
        """R-R-x-S before a hydrophobic residue."""
        where = self.add(["R", "RK", "AGLPQST", "S", "LIVF"])
        self.tell("MOD_RES", (where[0] + 3, where[0] + 3), "Phosphoserine; by PKA")

    def nuclear(self) -> None:
        where = self.add(["P", "K", "K", "KR", "KR", "KR", "VAL"])
        self.tell("MOTIF", where, "Nuclear localization signal")

    def coil(self) -> None:
        """Heptads with hydrophobic a and d."""
        heptad = [f"heptad_{'core' if i in (0, 3) else 'rim'}" for i in range(7)]
        where = self.add(heptad * self.between(3, 5))
        self.tell("COILED", where)

    def disordered(self, low: int = 14, high: int = 26) -> None:
        first = len(self.sites)
        self.loop(low, high, "disordered")
        self.tell("REGION", (first, len(self.sites) - 1), "Disordered")

    def membrane(self) -> None:
        """About twenty hydrophobic residues with aromatic ends."""
        where = self.add(["membrane_end", *["membrane"] * self.between(17, 20), "membrane_end"])
        self.tell("TRANSMEM", where, "Helical")

    def bond(self, one: int, other: int) -> None:
        """Two cysteines bonded in place of what stood there."""
        for at in (one, other):
            self.sites[at] = Site("C")
        self.tell("DISULFID", (one, other))
