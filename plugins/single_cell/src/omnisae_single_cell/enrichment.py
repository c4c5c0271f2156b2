"""Gene-set enrichment of a latent's gene ranking, against two nulls: other genes, and other cells."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from omnisae.concepts.multiplicity import benjamini_hochberg
from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.studies.resample import generator, permutations
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_single_cell.contrasts import contrast, own_cells, spread
from omnisae_single_cell.expression import blocks
from omnisae_single_cell.gmt import read_gmt, within
from omnisae_single_cell.tables import cells_of
from omnisae_single_cell.world import locate

BINS = 10
"""Bins of mean expression within which genes are drawn: random sets are as much expressed as the set is."""
Q = 0.05


class Enrichment(Study):
    title = "Which gene sets do a latent's cells express more?"
    about = (
        "The mean difference of a set's genes (a latent's own cells less the others, in standard deviations) less that "
        "of all other measured genes. The set with the largest z of each latent is chosen on select cells; its p is of "
        "test cells: the larger of two, against random sets of as much expressed genes (is it this set?) and against "
        "other cells (is it this latent? That keeps genes that go together together; after Subramanian et al. 2005). "
        "q by Benjamini & Hochberg over latents."
    )

    def __init__(self, sets: str, least: int, most: int, draws: int, latents: int, shown: int) -> None:
        self.sets, self.least, self.most = sets, least, most
        self.draws, self.latents, self.shown = draws, latents, shown

    def study(self, material: Material) -> Findings:
        cells = cells_of(material.dataset, "single_cell.enrichment")
        where = cells.config.genes
        table, genes = cells.table(where), cells.gene_names(where)
        path = locate(self.sets, "sets.gmt")
        sets, note = within(read_gmt(path), genes, self.least, self.most, path)
        own = own_cells(material, self.latents)
        if not len(own.lists):
            raise DatasetError(
                "no latent reaches half of its largest value in five select and five test cells",
                "give more cells, or train fewer latents",
            )
        random = generator(material, "enrichment")
        select, test = material.rows(SELECT), material.rows(TEST)
        chooses, judges = contrast(table, select, own.on(select)), contrast(table, test, own.on(test))
        bins = expression_bins(chooses.all1)
        z = against_genes(chooses.difference(), list(sets.values()), bins, self.draws, random).z
        best = np.nan_to_num(z, nan=-np.inf).argmax(axis=1)
        at = np.arange(len(best))
        genes_null = against_genes(judges.difference(), list(sets.values()), bins, self.draws, random)
        shuffles = np.stack(list(permutations(material, test, self.draws, random)))
        scores = set_scores(table, test, list(sets.values()), judges.deviation)
        cells_p = against_cells(scores, own.on(test), shuffles)
        p = np.maximum(genes_null.p, cells_p)[at, best]
        q = benjamini_hochberg(p)
        names = list(sets)
        decoys = self._decoys(chooses.difference(), judges.difference(), sets, bins, random)
        holds = q <= Q
        return Findings(
            findings=[
                Finding(
                    "Latents with a gene set",
                    float(holds.mean()),
                    len(holds),
                    decoys,
                    "chosen likewise among as many random sets of as much expressed genes (p against genes)",
                    kind="share",
                    remark=f"q ≤ {Q:g}; {len({names[i] for i in best[holds]})} different sets",
                )
            ],
            measures=self._measures(material, own.lists, [names[i] for i in best], genes_null.value[at, best], q),
            tables={
                "The gene set of each latent, chosen on select, judged on test": [
                    {
                        "latent": str(material.postings.poles.name(int(own.lists[i]))),
                        "set": names[best[i]],
                        "genes": len(sets[names[best[i]]]),
                        "difference": float(genes_null.value[i, best[i]]),
                        "p against genes": float(genes_null.p[i, best[i]]),
                        "p against cells": float(cells_p[i, best[i]]),
                        "q": float(q[i]),
                    }
                    for i in np.lexsort((-genes_null.value[at, best], q))[: self.shown]
                ]
            },
            notes=[note, f"Neither p can be below 1/{self.draws + 1}: it is {self.draws} draws of each null."],
        )

    def _decoys(
        self,
        chooses: Float[np.ndarray, "latent gene"],
        judges: Float[np.ndarray, "latent gene"],
        sets: dict[str, list[int]],
        bins: Int[np.ndarray, " gene"],
        random: np.random.Generator,
    ) -> float:
        """The share of latents with a set where sets are drawn at random, one for each real one."""
        drawn = [draw_sets(rows, bins, 1, random)[0].tolist() for rows in sets.values()]
        best = np.nan_to_num(against_genes(chooses, drawn, bins, self.draws, random).z, nan=-np.inf).argmax(axis=1)
        p = against_genes(judges, drawn, bins, self.draws, random).p[np.arange(len(best)), best]
        return float((benjamini_hochberg(p) <= Q).mean())

    def _measures(
        self,
        material: Material,
        lists: Int[np.ndarray, " latent"],
        names: list[str],
        value: Float[np.ndarray, " latent"],
        q: Float[np.ndarray, " latent"],
    ) -> list[Measure]:
        total = len(material.postings.poles)
        words = [""] * total
        for number, name in zip(lists, names, strict=True):
            words[int(number)] = name
        return [
            Measure("gene set", words, "the set chosen on select; believe none whose q is large", "text"),
            Measure("gene set difference", spread(value, lists, total), "its genes less all others, on test", "signed"),
            Measure("gene set q", spread(q, lists, total), "q of that set on test, over latents", "chance"),
        ]


@dataclass(frozen=True)
class Against:
    """The statistic of every latent and set, its chance among random sets, and its distance from their mean in their
    standard deviations."""

    value: Float[np.ndarray, "latent set"]
    p: Float[np.ndarray, "latent set"]
    z: Float[np.ndarray, "latent set"]


def expression_bins(total: Float[np.ndarray, " gene"]) -> Int[np.ndarray, " gene"]:
    """The bin of each gene by its rank of expression: ten of equal size."""
    rank = np.argsort(np.argsort(total, kind="stable"), kind="stable")
    return rank * BINS // max(len(total), 1)


def draw_sets(
    rows: list[int], bins: Int[np.ndarray, " gene"], times: int, random: np.random.Generator
) -> Int[np.ndarray, "time gene"]:
    """Random sets with as many genes of each bin of expression as the set has."""
    parts = []
    for number, count in zip(*np.unique(bins[rows], return_counts=True), strict=True):
        pool = np.flatnonzero(bins == number)
        picked = np.argsort(random.random((times, len(pool))), axis=1)[:, :count]
        parts.append(pool[picked])
    return np.concatenate(parts, axis=1)


def against_genes(
    difference: Float[np.ndarray, "latent gene"],
    sets: list[list[int]],
    bins: Int[np.ndarray, " gene"],
    draws: int,
    random: np.random.Generator,
) -> Against:
    """Mean difference of a set's genes less that of the others; p = (1 + random sets with at least as much) / (1 +
    draws)."""
    total, genes = difference.sum(axis=1), difference.shape[1]
    shape = (len(difference), len(sets))
    value, p, z = np.zeros(shape), np.ones(shape), np.zeros(shape)
    for i, rows in enumerate(sets):
        size = len(rows)
        drawn = draw_sets(rows, bins, draws, random)
        pick = sp.csr_matrix(
            (np.full(drawn.size, 1 / size), (np.repeat(np.arange(draws), size), drawn.ravel())), shape=(draws, genes)
        )
        null = (pick @ difference.T).T
        mine = difference[:, rows].mean(axis=1)
        p[:, i] = (1 + (null >= mine[:, None] - 1e-12).sum(axis=1)) / (1 + draws)
        spread_of = null.std(axis=1)
        z[:, i] = np.divide(mine - null.mean(axis=1), spread_of, out=np.zeros(len(mine)), where=spread_of > 0)
        value[:, i] = mine - (total - mine * size) / max(genes - size, 1)
    return Against(value, p, z)


def set_scores(
    table: Any, rows: Int[np.ndarray, " row"], sets: list[list[int]], deviation: Float[np.ndarray, " gene"]
) -> Float[np.ndarray, "row set"]:
    """Every cell's score of a set: the mean over its genes, in standard deviations, less that over all others. The
    difference of its means between two groups of cells is the statistic of `against_genes`."""
    genes = table.shape[1]
    weights = np.zeros((genes, len(sets)))
    scale = np.divide(1.0, deviation, out=np.zeros(genes), where=deviation > 1e-12)
    for i, members in enumerate(sets):
        weights[:, i] = -scale / max(genes - len(members), 1)
        weights[members, i] = scale[members] / len(members)
    out = np.zeros((len(rows), len(sets)))
    for part, values in blocks(table, rows):
        out[part] = values @ weights
    return out


def against_cells(
    scores: Float[np.ndarray, "row set"], member: Any, shuffles: Int[np.ndarray, "time row"]
) -> Float[np.ndarray, "latent set"]:
    """p of the same statistic where cells trade places: (1 + shuffles with at least as much) / (1 + shuffles)."""
    member = sp.csr_matrix(member)
    n = np.asarray(member.sum(axis=0)).ravel()[:, None]
    total, rows = scores.sum(axis=0), len(scores)

    def gap(shuffle: Int[np.ndarray, " row"] | None) -> Float[np.ndarray, "latent set"]:
        inside = member.T @ (scores if shuffle is None else scores[shuffle])
        return inside / n - (total - inside) / (rows - n)

    mine, reached = gap(None), np.ones((member.shape[1], scores.shape[1]))
    for shuffle in shuffles:
        reached += gap(shuffle) >= mine - 1e-12
    return reached / (1 + len(shuffles))
