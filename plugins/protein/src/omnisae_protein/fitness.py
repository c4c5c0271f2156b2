"""The study `protein.fitness`: a fitness from few measured variants, by latents and by activations.

Ridge regression on vectors pooled over residues, as LowNSAE pools latents (Tsui et al. 2025, 6 to 384 labels); its
strength is chosen among the labelled variants by leaving one out. Spearman on all the others.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import spearmanr

from omnisae.errors import DatasetError
from omnisae.extract.dataset import Example
from omnisae.studies.resample import generator, in_pairs
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_protein.assays import Assay, read
from omnisae_protein.dataset import Protein
from omnisae_protein.plugin import FitnessConfig

STRENGTHS = np.logspace(-2, 5, 15)
FEWEST_LEFT = 20


class Fitness(Study):
    title = "Is fitness learnt from few variants?"
    about = (
        "Ridge regression on latents pooled over a variant's residues, from few measured variants, judged by Spearman "
        "on the others; the same on the model's activations and on shuffled scores stands beside it (after LowNSAE). "
        "The variants took no part in training the autoencoder."
    )

    def __init__(self, config: FitnessConfig) -> None:
        self._config = config

    def study(self, material: Material) -> Findings:
        assay = read(self._config.assay)
        sizes = [n for n in self._config.labels if n + FEWEST_LEFT <= len(assay.sequences)]
        if not sizes:
            raise DatasetError(
                f"{assay.path} has {len(assay.sequences)} variants; {min(self._config.labels)} labels and "
                f"{FEWEST_LEFT} to judge are needed",
                "give a larger assay, or ask for fewer labels (score.studies: protein.fitness.labels)",
            )
        latents, activations = pooled(material, assay)
        random = generator(material, "fitness")
        findings, rows = [], []
        for n in sizes:
            found: dict[str, list[float]] = {"latents": [], "activations": [], "shuffled": []}
            for _ in range(self._config.repeats):
                order = random.permutation(len(assay.scores))
                fit, judge = order[:n], order[n:]
                mixed = assay.scores.copy()
                mixed[fit] = random.permutation(mixed[fit])
                found["latents"].append(judged(latents, assay.scores, fit, judge))
                found["activations"].append(judged(activations, assay.scores, fit, judge))
                found["shuffled"].append(judged(latents, mixed, fit, judge))
            mine, theirs = np.array(found["latents"]), np.array(found["activations"])
            low, high = np.quantile(mine, [0.025, 0.975])
            findings.append(
                Finding(
                    f"Spearman from {n} labels",
                    float(mine.mean()),
                    len(assay.scores) - n,
                    float(theirs.mean()),
                    "the same on the model's activations",
                    float(low),
                    float(high),
                    remark=in_pairs(mine, theirs, random),
                )
            )
            rows.append(
                {"labels": n, "judged on": len(assay.scores) - n}
                | {name: float(np.mean(values)) for name, values in found.items()}
            )
        notes = [
            f"Means over {self._config.repeats} splits of {assay.path.name} into variants that fit and that judge; "
            "the interval holds 95 % of the splits."
        ]
        return Findings(findings, tables={"Spearman by the number of labels": rows}, notes=notes)


def judged(
    x: Float[np.ndarray, "variant feature"],
    y: Float[np.ndarray, " variant"],
    fit: Int[np.ndarray, " fitted"],
    judge: Int[np.ndarray, " judged"],
) -> float:
    """Spearman of a ridge regression on variants that did not fit it; 0 where it foretells the same for all."""
    from sklearn.linear_model import RidgeCV

    middle, spread = x[fit].mean(axis=0), x[fit].std(axis=0)
    kept = spread > 1e-9
    if not kept.any():
        return 0.0
    scaled = (x[:, kept] - middle[kept]) / spread[kept]
    model = RidgeCV(alphas=STRENGTHS).fit(scaled[fit], y[fit])
    told = model.predict(scaled[judge])
    return float(spearmanr(told, y[judge]).statistic) if np.ptp(told) > 0 else 0.0


def pooled(
    material: Material, assay: Assay
) -> tuple[Float[np.ndarray, "variant latent"], Float[np.ndarray, "variant width"]]:
    """Codes and activations of every variant, in the mean over its residues."""
    from omnisae.interventions.sae import load

    sae, extractor, hook = load(material.artifact), material.extractor, material.postings.hook
    count, size = len(assay.sequences), extractor.batch_size()
    latents = np.zeros((count, sae.autoencoder.latents))
    activations = np.zeros((count, hook.own_width))
    for start in range(0, count, size):
        rows = range(start, min(start + size, count))
        prepared = [
            extractor.prepare(Example(row, f"variant {row + 1}", Protein(f"variant {row + 1}", assay.sequences[row])))
            for row in rows
        ]
        tokens = extractor.extract(rows, extractor.collate(prepared), [hook]).tokens[hook.name]
        tokens = tokens.take(tokens.role == 0)
        example = tokens.example.numpy()
        with torch.inference_mode():
            codes = sae.encode(tokens.values, check=False)
        np.add.at(latents, (example[codes.tokens.numpy()], codes.latents.numpy()), codes.values.numpy())
        np.add.at(activations, example, tokens.values.numpy()[:, : hook.own_width])
    lengths = np.array([len(sequence) for sequence in assay.sequences], dtype=float)[:, None]
    return latents / lengths, activations / lengths
