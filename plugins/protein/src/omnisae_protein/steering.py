"""The study `protein.steering`: do a concept's residues become likelier where its latent is switched on?

In TEST proteins without the concept some residues are masked, and the model is asked for them with the latent added at
every residue (the autoencoder's error kept) and without. What counts is the log-odds of the concept's residues,
Σ P(a) log p(a)/q(a), where p are the residues of the concept on SELECT and q those of all others.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from omnisae.errors import DatasetError
from omnisae.extract.dataset import Example
from omnisae.extract.split import SELECT, TEST
from omnisae.interventions.configs import AddConfig
from omnisae.studies.resample import generator, interval
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_protein.dataset import Proteins
from omnisae_protein.esm import Esm
from omnisae_protein.plugin import SteeringConfig

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


class Steering(Study):
    title = "Does switching a latent on make its motif likelier?"
    about = (
        "Each concept's best latent (chosen on select) is added at every residue of test proteins without the concept; "
        "told is the change of the log-odds of the concept's residues at masked places. The control are latents that "
        "fire about as often, added in the same way; the autoencoder's error is kept."
    )

    def __init__(self, config: SteeringConfig) -> None:
        self._config = config

    def study(self, material: Material) -> Findings:
        dataset, extractor = material.dataset, material.extractor
        if not isinstance(dataset, Proteins) or not isinstance(extractor, Esm) or extractor.built.logits is None:
            raise DatasetError(
                "protein.steering needs proteins and a model that names masked residues",
                "use protein.esm with an ESM model",
            )
        from omnisae.interventions.sae import load

        sae = load(material.artifact)
        random = generator(material, "steering")
        chosen = self._concepts(material)
        rows: list[dict[str, Any]] = []
        changes: list[float] = []
        controls: list[float] = []
        for concept, latent in chosen:
            odds = log_odds(dataset, material.rows(SELECT), concept)
            proteins = self._without(dataset, material.rows(TEST), concept, random)
            if odds is None or len(proteins) < 3:
                continue
            before = self._asked(extractor, proteins, material.seed)
            mine = self._shift(sae, extractor, proteins, [latent], before, odds, material.seed)
            others = matched(np.asarray(material.postings.counts), latent, self._config.controls, random)
            theirs = np.mean(
                [self._shift(sae, extractor, proteins, [other], before, odds, material.seed) for other in others],
                axis=0,
            )
            low, high = interval(mine - theirs, random)
            changes.append(float(mine.mean()))
            controls.append(float(theirs.mean()))
            rows.append(
                {
                    "concept": concept,
                    "latent": latent,
                    "proteins": len(proteins),
                    "change of log-odds": changes[-1],
                    "control": controls[-1],
                    "difference": float((mine - theirs).mean()),
                    "from": low,
                    "to": high,
                }
            )
        if not rows:
            raise DatasetError("no concept has a latent and three test proteins without it", "give more proteins")
        low, high = interval(np.array(changes), random)
        found = [
            Finding(
                "Change of log-odds", float(np.mean(changes)), len(rows), float(np.mean(controls)),
                "latents that fire as often", low, high, kind="signed",
            ),
            Finding(
                "Concepts made likelier than by the controls", float(sum(row["from"] > 0 for row in rows)), len(rows),
                remark="the interval of the difference lies above 0", kind="count",
            ),
        ]  # fmt: skip
        note = (
            f"Latents are added at {self._config.strength:g} times their maximum at every residue; "
            f"{self._config.masked:.0%} of the residues are masked."
        )
        rows.sort(key=lambda row: -row["difference"])
        return Findings(found, tables={"Log-odds of the concepts' residues (nats)": rows}, notes=[note])

    def _concepts(self, material: Material) -> list[tuple[str, int]]:
        """Concepts of residues with their best latents, the best first."""
        best: dict[str, tuple[int, float]] = {}
        table = material.table
        for name, level, latent, f1 in zip(table["concept"], table["level"], table["latent"], table["f1"], strict=True):
            if level == "token":
                best.setdefault(str(name), (int(latent), float(f1)))
        if self._config.concepts is not None:
            missing = [name for name in self._config.concepts if name not in best]
            if missing:
                raise DatasetError(
                    f"score.studies: protein.steering.concepts: {missing[0]!r} has no latent",
                    f"choose from {sorted(best)}",
                )
            return [(name, best[name][0]) for name in self._config.concepts]
        ranked = sorted(best.items(), key=lambda item: -item[1][1])
        return [(name, latent) for name, (latent, _) in ranked[: self._config.most]]

    def _without(self, dataset: Proteins, rows: np.ndarray, concept: str, random: np.random.Generator) -> list[Example]:
        some = [row for row in rows if all(one.concept != concept for one in dataset.features_of(int(row)))]
        most = self._config.proteins
        chosen = random.permutation(len(some))[:most]
        return [dataset.load(int(some[i])) for i in sorted(chosen)]

    def _asked(
        self, extractor: Esm, proteins: Sequence[Example], seed: int
    ) -> list[Float[torch.Tensor, "place letter"]]:
        """The model's distributions at masked residues of each protein."""
        numbers = [extractor.built.numbers[letter] for letter in LETTERS]
        inputs, places = [], []
        for one in proteins:
            draw = np.random.default_rng([seed, one.row])
            length = len(one.input.sequence)
            hidden = draw.random(length) < self._config.masked
            hidden[int(draw.integers(length))] = True
            prepared = extractor.prepare(one)
            tokens = prepared["tokens"].clone()
            if len(tokens) == 1:
                where = torch.from_numpy(np.flatnonzero(hidden)) + extractor.before
                tokens[0, where] = int(extractor.built.mask or 0)
            inputs.append({**prepared, "tokens": tokens})
            places.append(torch.from_numpy(np.flatnonzero(hidden)))
        with torch.inference_mode():
            logits = extractor.logits(extractor.collate(inputs))
        return [one[where][:, numbers].softmax(-1) for one, where in zip(logits, places, strict=True)]

    def _shift(
        self,
        sae: Any,
        extractor: Esm,
        proteins: Sequence[Example],
        latents: Sequence[int],
        before: Sequence[torch.Tensor],
        odds: Float[np.ndarray, " letter"],
        seed: int,
    ) -> Float[np.ndarray, " protein"]:
        """The change of log-odds in every protein."""
        added = [AddConfig(latent=one, amount=self._config.strength, unit="max") for one in latents]
        with sae.edit(extractor.model, *added):
            after = self._asked(extractor, proteins, seed)
        weight = torch.from_numpy(odds).float()
        return np.array([float(((b - a) @ weight).mean()) for a, b in zip(before, after, strict=True)])


def log_odds(dataset: Proteins, rows: np.ndarray, concept: str) -> Float[np.ndarray, " letter"] | None:
    """log p/q of every residue: within the concept against outside, each with one pseudocount a letter; None where the
    concept is nowhere."""
    inside, outside = np.ones(len(LETTERS)), np.ones(len(LETTERS))
    found = False
    for row in rows:
        sequence = dataset.sequence(int(row))
        within = np.zeros(len(sequence), dtype=bool)
        for one in dataset.features_of(int(row)):
            if one.concept == concept:
                for start, stop in one.spans():
                    within[start:stop] = True
        found |= bool(within.any())
        for i, letter in enumerate(sequence):
            if letter in LETTERS:
                (inside if within[i] else outside)[LETTERS.index(letter)] += 1
    return np.log(inside / inside.sum()) - np.log(outside / outside.sum()) if found else None


def matched(counts: np.ndarray, latent: int, count: int, random: np.random.Generator) -> list[int]:
    """Other latents that fire about as often: by chance out of the nearest in frequency."""
    gap = np.abs(np.log1p(counts) - np.log1p(counts[latent])).astype(float)
    gap[latent], gap[counts == 0] = np.inf, np.inf
    near = np.argsort(gap, kind="stable")[: 4 * count]
    near = near[np.isfinite(gap[near])]
    return [int(one) for one in random.permutation(near)[:count]]
