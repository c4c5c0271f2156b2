"""Alignment with fractions, such as votes: how near latents come to what people were asked, and what lies beyond."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from omnisae.concepts.multiplicity import benjamini_hochberg
from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.figure import Figure
from omnisae.studies.components import Components
from omnisae.studies.densities import densities
from omnisae.studies.maxima import Correlations
from omnisae.studies.novelty import FOLDS, novelty
from omnisae.studies.pooled import Pool
from omnisae.studies.ranks import dense
from omnisae.studies.resample import folds as folded
from omnisae.studies.resample import generator, interval, p_value, permutations
from omnisae.studies.study import Finding, Findings, Material, Measure, Study

LEAST = 10
"""Examples of which a fraction must be known on either side."""
SURE = 0.05


@dataclass(frozen=True)
class Family:
    """Units of one kind on TEST: Spearman's ρ with every fraction, the largest |ρ|, its draws under the null and its
    fraction's number; |ρ| with the fraction chosen on SELECT; the novelty."""

    rho: Float[np.ndarray, "unit fraction"]
    largest: Float[np.ndarray, " unit"]
    null: Float[np.ndarray, "draw unit"]
    which: Int[np.ndarray, " unit"]
    held_out: Float[np.ndarray, " unit"]
    novelty: Float[np.ndarray, " unit"]

    @property
    def p(self) -> Float[np.ndarray, " unit"]:
        """Each unit's chance of as large a maximum."""
        return np.array([p_value(one, null) for one, null in zip(self.largest, self.null.T, strict=True)])


class Alignment(Study):
    title = "How near do latents come to the fractions people gave?"
    about = (
        "A latent's alignment is the largest |Spearman| with any fraction on test examples, its p-value from the same "
        "maximum under permuted labels; its novelty is 1 − R² of a ridge regression from all fractions, cross-"
        "validated (after Wu & Walmsley 2025). Beside the most frequent latents stand as many principal components of "
        "the model's activations."
    )

    def __init__(self, top: int, separator: str, exclude: Sequence[str], pool: Pool, permutations: int) -> None:
        self.top, self.separator, self.exclude = top, separator, exclude
        self.pool, self.permutations = pool, permutations

    def study(self, material: Material) -> Findings:
        sides = material.rows(SELECT), material.rows(TEST)
        names = self._fractions(material, sides)
        fractions = [np.stack([material.known(name)[rows] for name in names], axis=1) for rows in sides]
        kept = self._kept(material)
        codes = [dense(material.strengths.tocsr()[rows][:, kept]) for rows in sides]
        raw = [material.activations(rows, self.pool) for rows in sides]
        components = Components(raw[0], len(kept))
        shuffles = list(permutations(material, sides[1], self.permutations, generator(material, "alignment")))
        folds = folded(material, sides[1], FOLDS)
        latents = family(codes, fractions, shuffles, folds)
        pcs = family([components(rows) for rows in raw], fractions, shuffles, folds)
        questions = [name.split(self.separator, 1)[0] if self.separator else name for name in names]
        return Findings(
            findings=self._findings(material, latents, pcs, len(sides[1])),
            measures=self._measures(material, kept, latents, names),
            figures=self._figures(latents, pcs),
            tables={
                "By question": by_question(
                    latents, pcs, questions, names, [material.postings.poles.name(int(i)) for i in kept]
                )
            },
            notes=self._notes(material, kept, len(components), names, questions),
        )

    def _fractions(self, material: Material, sides: Sequence[Int[np.ndarray, " row"]]) -> list[str]:
        """The fractions that enough examples of either side are known of, and that differ there."""

        def told(values: Float[np.ndarray, " row"]) -> bool:
            known = values[~np.isnan(values)]
            return len(known) > LEAST and bool(known.min() < known.max())

        given = material.annotations.fractions()
        wanted = [name for name in given if not name.startswith(tuple(self.exclude))]
        found = [name for name in wanted if all(told(material.known(name)[rows]) for rows in sides)]
        if not found:
            left = f", {len(given) - len(wanted)} excluded" if given else ""
            raise DatasetError(
                f"no fraction is known of more than {LEAST} examples on either side ({len(given)} given{left})",
                "give fractions of whole examples (numbers between 0 and 1), or exclude fewer",
            )
        return found

    def _kept(self, material: Material) -> Int[np.ndarray, " list"]:
        """The lists that fire on most SELECT tokens."""
        counts = np.asarray(material.postings.counts_select)
        kept = np.argsort(-counts, kind="stable")[: min(self.top, int((counts > 0).sum()))]
        if not len(kept):
            raise DatasetError("no latent fires on a select example", "train the autoencoder longer")
        return np.sort(kept)

    def _findings(self, material: Material, latents: Family, pcs: Family, n: int) -> list[Finding]:
        random = generator(material, "alignment intervals")
        best, other = int(latents.largest.argmax()), float(pcs.largest.max())
        against = f"{len(pcs.largest)} principal components"
        sure = [float((benjamini_hochberg(f.p) <= SURE).mean()) for f in (latents, pcs)]
        chance = float(latents.null.mean())
        return [
            Finding(
                "Mean alignment",
                float(latents.largest.mean()),
                len(latents.largest),
                float(pcs.largest.mean()),
                against,
                *interval(latents.largest, random),
                kind="share",
                p=p_value(float(latents.largest.mean()), latents.null.mean(axis=1)),
                remark=f"{chance:.3f} by permuted labels",
            ),
            Finding(
                "Mean alignment, fraction chosen on select",
                float(np.nanmean(latents.held_out)),
                len(latents.held_out),
                float(np.nanmean(pcs.held_out)),
                against,
                *interval(latents.held_out, random),
                kind="share",
            ),
            Finding(
                "Best alignment",
                float(latents.largest[best]),
                n,
                other,
                "the best of " + against,
                kind="share",
                p=p_value(float(latents.largest[best]), latents.null.max(axis=1)),
                remark="p is of the maximum over latents and fractions",
            ),
            Finding("Aligned beyond chance (q ≤ 0.05)", sure[0], len(latents.largest), sure[1], against, kind="share"),
            Finding(
                "Mean novelty",
                float(np.nanmean(latents.novelty)),
                int((~np.isnan(latents.novelty)).sum()),
                float(np.nanmean(pcs.novelty)),
                against,
                *interval(latents.novelty, random),
                kind="share",
            ),
        ]

    def _measures(
        self, material: Material, kept: Int[np.ndarray, " list"], latents: Family, names: Sequence[str]
    ) -> list[Measure]:
        def spread(values: Float[np.ndarray, " unit"]) -> Float[np.ndarray, " list"]:
            out = np.full(len(material.postings.poles), np.nan)
            out[kept] = values
            return out

        words = [""] * len(material.postings.poles)
        for place, number in zip(kept, latents.which, strict=True):
            words[place] = names[number]
        return [
            Measure("alignment", spread(latents.largest), "largest |Spearman| with a fraction, on test", "share"),
            Measure("alignment p", spread(latents.p), "chance of as large a maximum under permuted labels", "chance"),
            Measure("aligned with", words, "the fraction of its alignment", "text"),
            Measure("novelty", spread(latents.novelty), "1 − R² from all fractions, cross-validated", "share"),
        ]

    def _figures(self, latents: Family, pcs: Family) -> list[Figure]:
        told: tuple[tuple[str, Any, Any, dict[str, Any], str], ...] = (
            ("Alignment", latents.largest, pcs.largest, {"permuted": latents.null[0]}, "largest |Spearman|"),
            ("Novelty", latents.novelty, pcs.novelty, {}, "1 − R² from all fractions"),
        )
        return [
            densities(
                {"latents": one, "components": other, **extra},
                low=0.0,
                high=1.0,
                axis=axis,
                title=title,
                caption=f"Density of {title.lower()} on test examples: latents, as many principal components"
                f"{', latents under one permutation of the labels' if extra else ''}.",
            )
            for title, one, other, extra, axis in told
        ]

    def _notes(
        self,
        material: Material,
        kept: Int[np.ndarray, " list"],
        components: int,
        names: Sequence[str],
        questions: Sequence[str],
    ) -> list[str]:
        notes = [
            f"{len(names)} fractions of {len(set(questions))} questions; the {len(kept)} lists of latents that fire on "
            f"most select tokens, and {components} principal components of the {self.pool}-pooled activations."
        ]
        if self.exclude:
            notes.append(f"Left out: fractions that begin with {', '.join(self.exclude)}.")
        return notes


def family(
    units: Sequence[Float[np.ndarray, "row unit"]],
    fractions: Sequence[Float[np.ndarray, "row fraction"]],
    shuffles: Sequence[Int[np.ndarray, " row"]],
    folds: Int[np.ndarray, " row"],
) -> Family:
    """What is said of units of one kind, from their values on (SELECT, TEST) and the fractions there."""
    select, test = (Correlations(u, f) for u, f in zip(units, fractions, strict=True))
    rho, chosen = test.spearman(), np.abs(select.spearman()).argmax(axis=1)
    return Family(
        rho=rho,
        largest=np.abs(rho).max(axis=1),
        null=np.stack([np.abs(test.spearman(shuffle)).max(axis=1) for shuffle in shuffles]),
        which=np.abs(rho).argmax(axis=1),
        held_out=np.abs(rho[np.arange(len(rho)), chosen]),
        novelty=novelty(fractions[1], units[1], folds),
    )


def by_question(
    latents: Family, pcs: Family, questions: Sequence[str], names: Sequence[str], lists: Sequence[int | str]
) -> list[dict[str, Any]]:
    """A row a question: alignment with its fractions alone."""
    rows = []
    for question in dict.fromkeys(questions):
        mine = [i for i, one in enumerate(questions) if one == question]
        ours, theirs = np.abs(latents.rho[:, mine]), np.abs(pcs.rho[:, mine])
        unit, fraction = np.unravel_index(int(ours.argmax()), ours.shape)
        rows.append(
            {
                "question": question,
                "fractions": len(mine),
                "mean, latents": float(ours.max(axis=1).mean()),
                "mean, components": float(theirs.max(axis=1).mean()),
                "best, latents": float(ours.max()),
                "best, components": float(theirs.max()),
                "best latent": str(lists[int(unit)]),
                "its fraction": names[mine[int(fraction)]],
            }
        )
    return sorted(rows, key=lambda row: -row["best, latents"])
