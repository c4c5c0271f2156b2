"""MonoSemanticity scores of latents and neurons."""

from typing import Any

import numpy as np
from jaxtyping import Float

from omnisae.extract.split import TEST
from omnisae.studies.densities import densities
from omnisae.studies.pooled import Pool
from omnisae.studies.ranks import blocks
from omnisae.studies.resample import generator, interval, p_value
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_vision.plugin_studies import EmbeddingConfig
from omnisae_vision.studies.embedding import embed, with_vectors

SHOWN = 25


class Monosemanticity(Study):
    title = "Do the pictures of a latent look alike?"
    about = (
        "MonoSemanticity (Pach et al. 2025): the mean cosine of all pairs of test pictures, as another model sees "
        "them, weighted by how strong the latent is in both. Beside it the model's own neurons, and the same latents "
        "with the pictures' vectors shuffled."
    )

    def __init__(self, embedding: EmbeddingConfig, pool: Pool, shuffles: int) -> None:
        self.embedding, self.pool, self.shuffles = embedding, pool, shuffles

    def study(self, material: Material) -> Findings:
        vectors = embed(self.embedding, material)
        rows = with_vectors(material.rows(TEST), vectors)
        seen = vectors[rows]
        codes = material.strengths if self.pool == "max" else material.means
        latents = self._scores(codes, rows, seen)
        neurons = monosemanticity(material.activations(rows, self.pool), seen)
        random = generator(material, "monosemanticity")
        null = [self._scores(codes, rows, seen[random.permutation(len(rows))]) for _ in range(self.shuffles)]
        return Findings(
            findings=self._findings(latents, neurons, np.stack(null), len(rows), random),
            measures=[
                Measure("monosemanticity", latents, "likeness, to another model, of the pictures it fires in", "share")
            ],
            figures=[self._figure(latents, neurons, null[0])],
            tables=_table(material, latents),
            notes=[f"{len(rows)} test pictures have a vector; values of a picture's tokens are pooled by {self.pool}."],
        )

    def _scores(self, codes: Any, rows: np.ndarray, seen: Float[np.ndarray, "row d"]) -> Float[np.ndarray, " list"]:
        return np.concatenate([monosemanticity(found, seen) for _, found in blocks(codes, rows)])

    def _findings(
        self, latents: np.ndarray, neurons: np.ndarray, null: np.ndarray, pictures: int, random: np.random.Generator
    ) -> list[Finding]:
        own, raw = latents[~np.isnan(latents)], neurons[~np.isnan(neurons)]
        if not len(own):
            return []
        mean, chance = float(own.mean()), np.nanmean(null, axis=1)
        against = f"the model's {len(raw)} neurons"
        best = [float(np.sort(one)[-max(1, len(one) // 10) :].mean()) if len(one) else np.nan for one in (own, raw)]
        ends = interval(own, random)
        return [
            Finding("Mean MonoSemanticity", mean, len(own), float(raw.mean()) if len(raw) else np.nan, against, *ends,
                    kind="share", remark=f"over {pictures} test pictures"),
            Finding("Mean MonoSemanticity, against shuffled pictures", mean, len(own), float(chance.mean()),
                    "the same latents, the pictures' vectors shuffled", *ends, p_value(mean, chance), "share"),
            Finding("MonoSemanticity of the best tenth", best[0], max(1, len(own) // 10), best[1],
                    "the best tenth of " + against, kind="share"),
        ]  # fmt: skip

    def _figure(self, latents: np.ndarray, neurons: np.ndarray, null: np.ndarray) -> Any:
        known = np.concatenate([v[~np.isnan(v)] for v in (latents, neurons, null)] or [np.zeros(1)])
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        return densities(
            {"latents": latents, "neurons": neurons, "shuffled": null},
            low=low,
            high=max(high, low + 1e-6),
            axis="MonoSemanticity",
            title="MonoSemanticity",
            caption="Density of the score on test pictures: latents, the model's neurons, latents over shuffled ones.",
        )


def monosemanticity(
    values: Float[np.ndarray, "row unit"], vectors: Float[np.ndarray, "row d"]
) -> Float[np.ndarray, " unit"]:
    """MS = Σ_{i<j} ã_i ã_j E_i·E_j / Σ_{i<j} ã_i ã_j of every unit; ã are its values brought to 0…1, E of unit norm.

    Both sums come from one pass: (‖Σ ã_i E_i‖² − Σ ã_i²) / 2 and ((Σ ã_i)² − Σ ã_i²) / 2. NaN for constant units, and
    for those that are above their least value in one picture only, of which there is no pair.
    """
    values = values.astype(np.float64)
    low, span = values.min(axis=0), np.ptp(values, axis=0)
    scaled = (values - low) / np.where(span > 0, span, 1.0)
    squares, total = (scaled**2).sum(axis=0), scaled.sum(axis=0)
    pairs = total**2 - squares
    inside = ((scaled.T @ vectors.astype(np.float64)) ** 2).sum(axis=1) - squares
    known = (span > 0) & ((scaled > 0).sum(axis=0) > 1)
    return np.where(known, inside / np.where(known & (pairs > 0), pairs, 1.0), np.nan)


def _table(material: Material, latents: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    order = np.argsort(-np.nan_to_num(latents, nan=-np.inf), kind="stable")[:SHOWN]
    counts = np.diff(material.strengths.indptr)
    rows = [
        {
            "latent": str(material.postings.poles.name(int(one))),
            "MonoSemanticity": float(latents[one]),
            "held-out pictures in which it fires": int(counts[one]),
        }
        for one in order
        if not np.isnan(latents[one])
    ]
    return {"Most monosemantic latents": rows} if rows else {}
