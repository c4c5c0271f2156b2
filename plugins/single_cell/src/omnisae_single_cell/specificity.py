"""Logit specificity: does switching a latent off move the logits of its own genes more than those of others?"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from omnisae.concepts.multiplicity import benjamini_hochberg
from omnisae.errors import DatasetError
from omnisae.extract.module import to_device
from omnisae.extract.split import SELECT, TEST
from omnisae.interventions.operation import scale
from omnisae.interventions.sae import SAE
from omnisae.studies.resample import generator, interval
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_single_cell.contrasts import spread
from omnisae_single_cell.enrichment import draw_sets, expression_bins
from omnisae_single_cell.gene_model import GeneModel

OCCURS = 3
"""Select cells in which a gene must be a token to be one of a latent's own."""


class Specificity(Study):
    title = "Do latents act on their own genes?"
    about = (
        "A latent is switched off where it fires, h' = h + x̂_ablated − x̂, in test cells. |Δ logit| of each gene that "
        "the model knows is averaged over these places; specificity is its mean over the latent's own genes (largest "
        "mean value on select) over its mean on all others. p: random sets of genes that are tokens as often. After "
        "the published form, which has no such null."
    )

    def __init__(self, genes: int, latents: int, cells: int, draws: int, shown: int) -> None:
        self.genes, self.latents, self.cells = genes, latents, cells
        self.draws, self.shown = draws, shown

    def study(self, material: Material) -> Findings:
        reader = material.extractor
        if not isinstance(reader, GeneModel) or "gene" not in material.postings.hook.axes:
            raise DatasetError(
                "logits of genes are asked for, and this model has none, or this hook point no axis `gene`",
                "use extractor.type single_cell.gene_model, and hook a block",
            )
        sae = SAE.load(material.artifact).attach(reader.model)
        occurs = occurrences(material)
        words = np.flatnonzero(reader.vocabulary.token >= 0)
        bins = expression_bins(occurs[words])
        random = generator(material, "specificity")
        rows = []
        for number in np.argsort(-np.asarray(material.postings.counts_select), kind="stable"):
            own = np.flatnonzero(np.isin(words, own_genes(material, int(number), occurs, self.genes)))
            change, places = self._change(material, reader, sae, int(number), words)
            if len(own) == self.genes and places:
                rows.append((int(number), own, places, *specific(change, own, bins, self.draws, random)))
            if len(rows) == self.latents:
                break
        if not rows:
            raise DatasetError("no latent has enough genes of its own that fire in test cells", "ask for fewer `genes`")
        return self._told(material, reader, words, rows, random)

    def _told(
        self, material: Material, reader: GeneModel, words: Int[np.ndarray, " word"], rows: list[Any], random: Any
    ) -> Findings:
        lists = np.array([row[0] for row in rows])
        ratio, p, chance = (np.array([row[i] for row in rows]) for i in (3, 4, 5))
        q, total = benjamini_hochberg(p), len(material.postings.poles)
        low, high = interval(ratio, random, np.median)
        names = reader._cells.gene_names(reader.config.counts)
        return Findings(
            findings=[
                Finding(
                    "Median specificity", float(np.median(ratio)), len(ratio), float(np.median(chance)),
                    "random sets of genes that are tokens as often", low, high,
                    remark=f"{int((q <= 0.05).sum())} of {len(q)} latents at q ≤ 0.05",
                )
            ],
            measures=[
                Measure("specificity", spread(ratio, lists, total), "|Δ logit| of its own genes over others'"),
                Measure("specificity q", spread(q, lists, total), "q of that, over latents", "chance"),
            ],
            tables={
                "Latents by specificity": [
                    {
                        "latent": str(material.postings.poles.name(rows[i][0])),
                        "own genes": ", ".join(names[words[gene]] for gene in rows[i][1][:8]),
                        "places": rows[i][2], "specificity": float(ratio[i]), "by chance": float(chance[i]),
                        "q": float(q[i]),
                    }
                    for i in np.argsort(-ratio, kind="stable")[: self.shown]
                ]
            },
        )  # fmt: skip

    def _change(
        self, material: Material, reader: GeneModel, sae: SAE, number: int, words: Int[np.ndarray, " word"]
    ) -> tuple[Float[np.ndarray, " word"], int]:
        """Mean |Δ logit| of every known gene over the places of test cells at which the latent fires, and how many
        these are."""
        strength = material.postings.strength(number)
        able = material.rows(TEST)
        able = able[strength[able] > 0]
        able = able[np.argsort(-strength[able], kind="stable")[: self.cells]]
        total, places = np.zeros(len(words)), 0
        poles = material.postings.poles
        off = scale(int(poles.latent(number)), by=0.0, sign=poles.sign(number))
        ids = torch.as_tensor(reader.vocabulary.token[words], device=reader.device)
        for start in range(0, len(able), reader.batch_size()):
            rows = np.sort(able[start : start + reader.batch_size()])
            inputs = reader.collate([reader.prepare(material.dataset.load(int(row))) for row in rows])
            inputs = to_device(inputs, reader.device)
            with torch.inference_mode():
                before = reader.logits(inputs)
                with sae.edit(reader.model, off):
                    after = reader.logits(inputs)
            for i, row in enumerate(rows):
                at = torch.as_tensor(material.postings.firing(number, int(row))[0][:, -1].copy(), device=reader.device)
                fires = torch.isin(inputs["gene"][i], at[at >= 0].to(inputs["gene"].dtype))
                gap = (after[i, fires][:, ids] - before[i, fires][:, ids]).abs().double().sum(dim=0)
                total, places = total + gap.cpu().numpy(), places + int(fires.sum())
        return total / max(places, 1), places


def occurrences(material: Material) -> Int[np.ndarray, " gene"]:
    """In how many select cells each column of the table is a token."""
    postings = material.postings
    gene = np.asarray(postings.coords)[:, -1]
    kept = (gene >= 0) & (np.asarray(postings.split)[np.asarray(postings.example)] == SELECT)
    genes = len(material.extractor.vocabulary.token)  # type: ignore[attr-defined]
    return np.bincount(gene[kept], minlength=genes)


def own_genes(material: Material, number: int, occurs: Int[np.ndarray, " gene"], most: int) -> Int[np.ndarray, " gene"]:
    """The columns at whose select tokens a latent has the largest mean value, silent ones counted as zero."""
    postings = material.postings
    tokens, values = postings.entries(number)
    gene = np.asarray(postings.coords)[tokens, -1]
    kept = (gene >= 0) & (np.asarray(postings.split)[np.asarray(postings.example)[tokens]] == SELECT)
    total = np.bincount(gene[kept], weights=values[kept], minlength=len(occurs))
    mean = np.where(occurs >= OCCURS, total / np.maximum(occurs, 1), 0.0)
    order = np.argsort(-mean, kind="stable")[:most]
    return order[mean[order] > 0]


def specific(
    change: Float[np.ndarray, " word"],
    own: Int[np.ndarray, " own"],
    bins: Int[np.ndarray, " word"],
    draws: int,
    random: np.random.Generator,
) -> tuple[float, float, float]:
    """Mean |Δ logit| of the own genes over that of all others; its p and its mean among random sets of such bins."""

    def ratio(rows: Int[np.ndarray, "time own"]) -> Float[np.ndarray, " time"]:
        inside = change[rows].sum(axis=1)
        rest = change.sum() - inside
        return (inside / rows.shape[1]) / np.maximum(rest / (len(change) - rows.shape[1]), 1e-30)

    mine, null = float(ratio(own[None])[0]), ratio(draw_sets(own.tolist(), bins, draws, random))
    return mine, float((1 + (null >= mine - 1e-12).sum()) / (1 + draws)), float(null.mean())
