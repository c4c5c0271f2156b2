"""Making proteins: an ancestor of a family, a descendant of it with substitutions, losses and insertions."""

import re
from dataclasses import dataclass, replace

import numpy as np

from omnisae_datasets.motifs.families import FAMILIES
from omnisae_datasets.motifs.pools import draw
from omnisae_datasets.motifs.segments import Chain, Feature, Site

DESCENDANTS = 10
"""How many proteins come of one ancestor, by and by."""
ANCESTOR, MEMBER = 7, 11
"""Streams of random numbers."""
SEQUON = re.compile(r"N(?=[^P][ST][^P])")
PHOSPHO = re.compile(r"R(?=[RK].S)")


@dataclass(frozen=True)
class Protein:
    """One protein with all that is known of it. `features` count residues from 0; `ancestor` is its homology group."""

    id: str
    sequence: str
    family: str
    ancestor: int
    features: tuple[Feature, ...]


@dataclass(frozen=True)
class Ancestor:
    family: str
    sites: tuple[Site, ...]
    residues: str
    features: tuple[Feature, ...]


def ancestor(seed: int, number: int) -> Ancestor:
    """The founder of a homology group. Families take turns."""
    rng = np.random.default_rng([seed, ANCESTOR, number])
    family = list(FAMILIES)[number % len(FAMILIES)]
    chain = Chain(rng)
    FAMILIES[family](chain)
    residues = "".join(draw(site.pool, rng) for site in chain.sites)
    return Ancestor(family, tuple(chain.sites), residues, tuple(chain.features))


def protein(seed: int, number: int, ancestors: int) -> Protein:
    """Protein `number` of a world with so many ancestors: a descendant of one of them."""
    which = number % ancestors
    return descend(ancestor(seed, which), which, np.random.default_rng([seed, MEMBER, number]), name(number))


def descend(founder: Ancestor, which: int, rng: np.random.Generator, id: str) -> Protein:
    """A descendant: a tenth to two fifths of its residues drawn anew from their pools, loose ones lost or added."""
    change = rng.uniform(0.1, 0.4)
    kept = {at for feature in founder.features for at in (feature.first, feature.last)}
    residues: list[str] = []
    place: list[int] = []
    for at, (site, old) in enumerate(zip(founder.sites, founder.residues, strict=True)):
        place.append(len(residues))
        roll = rng.random()
        if site.loose and at not in kept and roll < 0.06:
            continue
        residues.append(draw(site.pool, rng) if rng.random() < change else old)
        if site.loose and at not in kept and roll > 0.94:
            residues.append(draw(site.pool, rng))
    features = tuple(replace(f, first=place[f.first], last=place[f.last]) for f in founder.features)
    return Protein(id, _repaired("".join(residues), features), founder.family, which, features)


def name(number: int) -> str:
    """An accession in UniProt's form (A0A…, ten characters)."""
    digits = "0123456789"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    tail, rest = digits[number % 10], number // 10
    middle = ""
    for _ in range(2):
        middle = letters[rest % 26] + middle
        rest //= 26
    return f"A0A{rest:03d}M{middle}{tail}0"[:10]


def _repaired(sequence: str, features: tuple[Feature, ...]) -> str:
    """Without chance matches of the short motifs: what fits one and is not planted gets another first residue."""
    planted = {f.first for f in features if f.key == "CARBOHYD"}
    residues = list(sequence)
    for match in SEQUON.finditer(sequence):
        if match.start() not in planted:
            residues[match.start()] = "D"
    sites = {f.first - 3 for f in features if f.key == "MOD_RES"}
    for match in PHOSPHO.finditer(sequence):
        if match.start() not in sites:
            residues[match.start()] = "K" if sequence[match.start() + 1] == "R" else "Q"
    return "".join(residues)
