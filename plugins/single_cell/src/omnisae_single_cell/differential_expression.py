"""Differential expression of the cells in which a latent is strong."""

from typing import Any

import numpy as np
from jaxtyping import Float

from omnisae.concepts.multiplicity import benjamini_hochberg
from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.studies.resample import generator, permutations
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_single_cell.contrasts import Contrast, contrast, own_cells, spread
from omnisae_single_cell.tables import cells_of

Q = 0.05


class DifferentialExpression(Study):
    title = "Which genes set a latent's cells apart?"
    about = (
        "Welch's t of every gene between the cells in which a latent reaches half of its largest select value and all "
        "others, as scanpy's rank_genes_groups with method t-test. Genes are chosen on select cells and judged on test "
        "cells; q by Benjamini & Hochberg over all chosen genes of all latents. Control: the same with the latents' "
        "cells traded for others by chance."
    )

    def __init__(self, genes: int, latents: int, shown: int) -> None:
        self.genes, self.latents, self.shown = genes, latents, shown

    def study(self, material: Material) -> Findings:
        cells = cells_of(material.dataset, "single_cell.differential_expression")
        where = cells.config.genes
        table, names = cells.table(where), np.array(cells.gene_names(where))
        own = own_cells(material, self.latents)
        if not len(own.lists):
            raise DatasetError(
                "no latent reaches half of its largest value in five select and five test cells",
                "give more cells, or train fewer latents",
            )
        select, test = material.rows(SELECT), material.rows(TEST)
        chosen = self._chosen(contrast(table, select, own.on(select)))
        judged = contrast(table, test, own.on(test))
        found = self._judge(judged, chosen)
        random = generator(material, "differential expression")
        traded = own.on(test)[next(permutations(material, test, 1, random))]
        by_chance = self._judge(contrast(table, test, traded), chosen)
        best = [[str(names[gene]) for gene in row] for row in chosen]
        return Findings(
            findings=self._findings(found, by_chance),
            measures=self._measures(material, own.lists, best, found["holds"]),
            tables={"Genes chosen on select, judged on test": self._table(material, own.lists, judged, best, found)},
            notes=[
                f"Expression is {where!r} of the file, in {len(test)} test cells; {len(own.lists)} latents have enough "
                "cells of their own.",
                "Cells of one donor are no independent samples: p is about these cells, not about donors.",
            ],
        )

    def _chosen(self, found: Contrast) -> np.ndarray:
        """The genes with the largest t of each latent."""
        t, _ = found.welch()
        return np.argsort(-t, axis=1, kind="stable")[:, : self.genes]

    def _judge(self, found: Contrast, chosen: np.ndarray) -> dict[str, np.ndarray]:
        t, p = found.welch()
        t, p = np.take_along_axis(t, chosen, axis=1), np.take_along_axis(p, chosen, axis=1)
        q = benjamini_hochberg(p.ravel()).reshape(p.shape)
        return {"t": t, "q": q, "holds": (q <= Q) & (t > 0)}

    def _findings(self, found: dict[str, np.ndarray], chance: dict[str, np.ndarray]) -> list[Finding]:
        return [
            Finding(
                "Genes chosen on select that stand out on test",
                float(found["holds"].mean()),
                int(found["holds"].size),
                float(chance["holds"].mean()),
                "the same genes with the cells traded by chance",
                kind="share",
                remark=f"q ≤ {Q:g} and more expressed; {found['holds'].shape[1]} genes a latent",
            ),
            Finding(
                "Latents with such a gene",
                float(found["holds"].any(axis=1).mean()),
                len(found["holds"]),
                float(chance["holds"].any(axis=1).mean()),
                "the same with the cells traded by chance",
                kind="share",
            ),
        ]

    def _measures(
        self, material: Material, lists: np.ndarray, best: list[list[str]], holds: Float[np.ndarray, "latent gene"]
    ) -> list[Measure]:
        total = len(material.postings.poles)
        words = [""] * total
        for number, genes, sure in zip(lists, best, holds, strict=True):
            words[int(number)] = ", ".join(gene for gene, one in zip(genes, sure, strict=True) if one)[:80]
        return [
            Measure("genes", words, "genes chosen on select that stand out on test, strongest first", "text"),
            Measure(
                "genes that hold",
                spread(holds.sum(axis=1).astype(float), lists, total),
                f"of the {holds.shape[1]} genes chosen on select, those with q ≤ {Q:g} on test",
                "count",
            ),
        ]

    def _table(
        self,
        material: Material,
        lists: np.ndarray,
        judged: Contrast,
        best: list[list[str]],
        found: dict[str, np.ndarray],
    ) -> list[dict[str, Any]]:
        order = np.argsort(-found["t"].mean(axis=1), kind="stable")[: self.shown]
        return [
            {
                "latent": str(material.postings.poles.name(int(lists[i]))),
                "test cells": int(judged.n[i]),
                "genes": ", ".join(best[i][:8]),
                "hold": f"{int(found['holds'][i].sum())} of {found['holds'].shape[1]}",
                "mean t": float(found["t"][i].mean()),
                "largest q": float(found["q"][i].max()),
            }
            for i in order
        ]
