"""Outliers: do the codes tell examples of another kind, which no latent was fitted to."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from omnisae.autoencoders.artifact import Artifact
from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.figure import Figure
from omnisae.studies.columns import choose, classes
from omnisae.studies.densities import densities
from omnisae.studies.pooled import Pool
from omnisae.studies.ranks import auroc, blocks, weighted_auroc
from omnisae.studies.resample import LEVELS, generator, p_value, permutations, weights
from omnisae.studies.study import Finding, Findings, Material, Measure, Study

LEAST = 5


class Outliers(Study):
    title = "Do the codes tell what is out of distribution?"
    about = (
        "Scores are fitted on select examples of the usual kind, and told apart on test examples by AUROC. Rarity: "
        "−log of how many usual examples a latent fires in, averaged over an example's latents by their activation. "
        "Residual: the norm of what the autoencoder leaves out, a token. Controls on the model's own pooled "
        "activations: Mahalanobis distance (Lee et al. 2018) and distance to near neighbours (Sun et al. 2022)."
    )

    def __init__(self, column: str, outlier: str | None, neighbours: int, pool: Pool, permutations: int) -> None:
        self.column, self.outlier, self.neighbours = column, outlier, neighbours
        self.pool, self.permutations = pool, permutations

    def study(self, material: Material) -> Findings:
        outlying, known = self._truth(material)
        usual, test = _keep(material.rows(SELECT), known & ~outlying), _keep(material.rows(TEST), known)
        truth = outlying[test]
        if min(truth.sum(), (~truth).sum(), len(usual)) < LEAST:
            raise DatasetError(
                f"of {self.column!r}, {int(truth.sum())} test examples are outliers and {int((~truth).sum())} are not; "
                f"{len(usual)} select examples are not",
                f"each needs {LEAST} at least; name another column, or give more examples",
            )
        scores = self._scores(material, usual, test)
        raw = [material.activations(rows, self.pool) for rows in (usual, test)]
        controls = {
            "Mahalanobis distance": mahalanobis(raw[0], raw[1]),
            f"distance to {self.neighbours} neighbours": neighbours(raw[0], raw[1], self.neighbours),
        }
        lone = np.full(len(material.postings.poles), np.nan)
        for part, values in blocks(material.strengths, test):
            lone[part] = np.where((values > 0).any(axis=0), auroc(values, truth), np.nan)
        return Findings(
            findings=self._findings(material, scores, controls, truth, test),
            measures=[
                Measure(
                    "tells outliers", lone, f"AUROC on test examples of the latent alone for {self.column}", "share"
                )
            ],
            figures=[_figure(scores["Rarity and residual"], truth)],
            notes=[
                f"{int(truth.sum())} outliers among {len(truth)} test examples; scores are fitted on {len(usual)} "
                "select examples of the usual kind. Outliers among those that trained the autoencoder make it harder.",
            ],
        )

    def _truth(self, material: Material) -> tuple[Bool[np.ndarray, " example"], Bool[np.ndarray, " example"]]:
        """Which examples are outliers, and of which it is known."""
        found = classes(material, self.column)
        binary = self.outlier is None and found.classes == ("no", "yes")
        label = "yes" if binary else choose(found, self.outlier, f"which class of {self.column!r} is the `outlier`")
        return found.is_(label), found.known

    def _scores(
        self, material: Material, usual: Int[np.ndarray, " row"], test: Int[np.ndarray, " row"]
    ) -> dict[str, Float[np.ndarray, " row"]]:
        """Each score on TEST; the last is the sum of both, in standard deviations of the usual SELECT examples."""
        strong = material.strengths.tocsr()
        rare = rarity(strong[usual], strong[np.r_[usual, test]])
        left = residual(material, np.r_[usual, test])
        cut = len(usual)
        both = sum((one[cut:] - one[:cut].mean()) / max(float(one[:cut].std()), 1e-12) for one in (rare, left))
        return {"Rarity": rare[cut:], "Residual": left[cut:], "Rarity and residual": np.asarray(both)}

    def _findings(
        self,
        material: Material,
        scores: dict[str, Float[np.ndarray, " row"]],
        controls: dict[str, Float[np.ndarray, " row"]],
        truth: Bool[np.ndarray, " row"],
        test: Int[np.ndarray, " row"],
    ) -> list[Finding]:
        random = generator(material, "outliers")
        all_scores = {**scores, **controls}
        values = np.stack(list(all_scores.values()), axis=1)
        found = auroc(values, truth)
        orders = list(permutations(material, test, self.permutations, random))
        null = np.stack([auroc(values, truth[order]) for order in orders])
        drawn = weights(material, test, self.permutations, random)
        redrawn = [weighted_auroc(one, truth, drawn) for one in values.T]
        ends = np.nanquantile(redrawn, LEVELS, axis=1)
        best = max(range(len(scores), len(all_scores)), key=lambda i: found[i])  # the harder control, on TEST itself
        out = []
        for i, name in enumerate(all_scores):
            mine = i < len(scores)
            out.append(
                Finding(
                    f"AUROC, {name}" + ("" if mine else " (no autoencoder)"),
                    float(found[i]),
                    len(truth),
                    float(found[best]) if mine else 0.5,
                    f"the better of both controls, {list(all_scores)[best]}" if mine else "chance",
                    float(ends[0, i]),
                    float(ends[1, i]),
                    p_value(float(found[i]), null[:, i]),
                    "share",
                )
            )
        return out


def rarity(fit: Any, strong: Any) -> Float[np.ndarray, " row"]:
    """Σ a·w / Σ a over an example's latents, w = −log((c + 1) / (n + 2)) with c of the n examples of `fit` in which the
    latent fires; for an example in which nothing fires, the largest weight there can be."""
    n = fit.shape[0]
    fires = np.asarray((fit > 0).sum(axis=0)).ravel()
    weight = -np.log((fires + 1) / (n + 2))
    total = np.asarray(strong.sum(axis=1)).ravel().astype(np.float64)
    summed = np.asarray(strong @ weight).ravel()
    return np.asarray(np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.log(n + 2)))


def residual(material: Material, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """The mean over an example's tokens of ‖x − x̂‖, in units of the activations."""
    artifact = Artifact.load(material.artifact)
    postings = material.postings
    sums, counts = np.zeros(postings.n_examples), np.zeros(postings.n_examples)
    wanted = material.mask(rows)
    with torch.inference_mode():
        for side in (SELECT, TEST):
            mine = wanted & (np.asarray(postings.split) == side)
            for batch in material.source.sequential(postings.manifest.keep_on(side), mine, 4096):
                x = batch.values.float()
                left = (x - artifact.decode(artifact.encode(x, check=False))).norm(dim=1).double().cpu().numpy()
                np.add.at(sums, batch.example.numpy(), left)
                np.add.at(counts, batch.example.numpy(), 1)
    return np.asarray(sums[rows] / np.maximum(counts[rows], 1))


def mahalanobis(fit: Float[np.ndarray, "row width"], x: Float[np.ndarray, "row2 width"]) -> Float[np.ndarray, " row2"]:
    """Distance from the mean of `fit` by its covariance, shrunk as Ledoit & Wolf (2004) do."""
    from sklearn.covariance import LedoitWolf

    model = LedoitWolf().fit(fit.astype(np.float64))
    return np.asarray(np.sqrt(np.maximum(model.mahalanobis(x.astype(np.float64)), 0.0)))


def neighbours(
    fit: Float[np.ndarray, "row width"], x: Float[np.ndarray, "row2 width"], k: int
) -> Float[np.ndarray, " row2"]:
    """Distance to the k-th nearest row of `fit`, all of unit norm (Sun et al. 2022)."""
    from sklearn.neighbors import NearestNeighbors

    one, two = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (fit, x))
    found, _ = NearestNeighbors(n_neighbors=min(k, len(one))).fit(one).kneighbors(two)
    return np.asarray(found[:, -1], dtype=np.float64)


def _keep(rows: Int[np.ndarray, " row"], mask: Bool[np.ndarray, " example"]) -> Int[np.ndarray, " row"]:
    return np.asarray(rows[mask[rows]])


def _figure(score: Float[np.ndarray, " row"], truth: Bool[np.ndarray, " row"]) -> Figure:
    low, high = np.quantile(score, [0.0, 0.99])
    return densities(
        {"outliers": score[truth], "usual": score[~truth]},
        low=float(low),
        high=float(max(high, low + 1e-9)),
        axis="rarity and residual, in standard deviations of the usual",
        title="Outliers against the usual",
        caption="Density of the joint score over the test examples.",
    )
