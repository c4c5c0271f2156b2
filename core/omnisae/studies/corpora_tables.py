"""The tables of two corpora compared: the latents furthest apart, and the concepts with the latent of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.extract.split import TEST
from omnisae.studies.study import Material

SUPPRESSED, EXAGGERATED = 0.1, 0.9
SHOWN = 25

Rows = list[dict[str, Any]]
Lists = Float[np.ndarray, " list"]


@dataclass(frozen=True)
class Compared:
    """Two corpora, by their classes, and δ of every list with its interval; `fires` counts the test examples of each
    corpus in which a list fires, `energy` is what it has in both. `first` and `second` mark examples of the dataset."""

    names: tuple[str, str]
    share: Lists
    low: Lists
    high: Lists
    fires: tuple[Int[np.ndarray, " list"], Int[np.ndarray, " list"]]
    energy: Lists
    first: Bool[np.ndarray, " example"]
    second: Bool[np.ndarray, " example"]

    def told(self, one: int) -> dict[str, float]:
        """δ of a list with its interval."""
        return {"δ": float(self.share[one]), "low": float(self.low[one]), "high": float(self.high[one])}


@dataclass(frozen=True)
class Match:
    """A concept with a list that stands for it, and the list's held-out F1; `rank` is its place among those chosen on
    SELECT, from 0 on."""

    concept: str
    list: int
    rank: int
    f1: float


def matches(table: Mapping[str, np.ndarray]) -> list[Match]:
    """The rows of the concept table, in which those of one concept stand in the order of their rank on SELECT."""
    f1 = table.get("f1", np.full(len(table["concept"]), np.nan))
    seen: dict[str, int] = {}
    out = []
    for name, number, score in zip(table["concept"], table["list"], f1, strict=True):
        rank = seen[str(name)] = seen.get(str(name), -1) + 1
        out.append(Match(str(name), int(number), rank, float(score)))
    return out


def tables(material: Material, found: Compared) -> dict[str, Rows]:
    """The latents furthest to either side, and the concepts; what has no row is left out."""
    known = matches(material.table)
    found_rows = latents(material, found, known) | concepts(material, found, known)
    return {title: rows for title, rows in found_rows.items() if rows}


def latents(material: Material, found: Compared, known: list[Match]) -> dict[str, Rows]:
    """The latents furthest to either side, surest first; of equals, those that carry more energy."""
    first, second = found.names
    meant: dict[int, Match] = {}
    for match in sorted(known, key=lambda one: one.rank):
        meant.setdefault(match.list, match)
    sides = {
        f"Most suppressed in {second}": (np.flatnonzero(found.share < SUPPRESSED), np.nan_to_num(found.high, nan=1.0)),
        f"Most exaggerated in {second}": (
            np.flatnonzero(found.share > EXAGGERATED),
            -np.nan_to_num(found.low, nan=0.0),
        ),
    }
    out = {}
    for title, (far, sure) in sides.items():
        ordered = [int(one) for one in far[np.lexsort((-found.energy[far], sure[far]))][:SHOWN]]
        out[title] = [
            {"latent": str(material.postings.poles.name(one))}
            | ({"concept": meant[one].concept if one in meant else "", "its F1": _f1(meant.get(one))} if known else {})
            | found.told(one)
            | {
                f"{first} examples in which it fires": int(found.fires[0][one]),
                f"{second} examples in which it fires": int(found.fires[1][one]),
            }
            for one in ordered
        ]
    return out


def concepts(material: Material, found: Compared, known: list[Match]) -> dict[str, Rows]:
    """Every concept with its best latent on SELECT, the most suppressed first; of concepts of whole examples also how
    many of each corpus' test examples have it, of those of which it is known."""
    rows = []
    for match in (one for one in known if one.rank == 0):
        one = match.list
        best = {"best latent": str(material.postings.poles.name(one)), "its F1": match.f1}
        shares = {
            f"{name} that have it": _share(material, match.concept, side)
            for name, side in zip(found.names, (found.first, found.second), strict=True)
        }
        rows.append({"concept": match.concept} | best | found.told(one) | shares)
    return {"Concepts, by the latent that tells each best": sorted(rows, key=lambda row: _last(row["δ"]))}


def _f1(match: Match | None) -> float:
    return float("nan") if match is None else match.f1


def _share(material: Material, concept: str, side: Bool[np.ndarray, " example"]) -> float:
    """The mean label of a corpus' test examples; NaN where it is known of none."""
    labels = material.annotations.labels
    if concept not in labels:
        return float("nan")
    rows = material.rows(TEST)
    values = np.asarray(labels[concept], dtype=np.float64)[rows[side[rows]]]
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def _last(share: float) -> float:
    return float("inf") if np.isnan(share) else share
