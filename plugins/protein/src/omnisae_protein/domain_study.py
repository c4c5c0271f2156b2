"""The study `protein.domains`: InterPLM's domain F1 of latents and of neurons, chosen on SELECT, told on TEST."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from omnisae.concepts.level import Level
from omnisae.concepts.stream import Stream
from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.studies.resample import generator, interval
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_protein.domain_f1 import domain_f1, instances
from omnisae_protein.domain_units import Block, latents, neurons
from omnisae_protein.plugin import DomainsConfig
from omnisae_protein.vocabulary import ANY, CATCH_ALLS, RESIDUES, TITLES, title_of

FOUND = 0.5
"""F1 above which InterPLM calls a concept found."""
BY_RESIDUE = frozenset(TITLES[key] for key in RESIDUES)
DROPPED = frozenset(TITLES[key] + ANY for key in CATCH_ALLS)

Blocks = Callable[[Stream, int, Int64[np.ndarray, " row"]], Iterator[Block]]


@dataclass
class Best:
    """Of every concept: the unit and threshold with the best F1 on SELECT, both F1s; and of every unit its best concept
    with its F1 on TEST (NaN where it has none)."""

    unit: Int64[np.ndarray, " concept"]
    threshold: Int64[np.ndarray, " concept"]
    select: Float64[np.ndarray, " concept"]
    test: Float64[np.ndarray, " concept"]
    concept_of: Int64[np.ndarray, " unit"]
    test_of: Float64[np.ndarray, " unit"]


class Domains(Study):
    """Catch-alls (`Domain (any)`) take no part, nor do concepts with too few instances on either side."""

    title = "Does a latent find a whole domain?"
    about = (
        "Domain F1 (Simon & Zou 2024, InterPLM): residues found precisely, and instances touched at all; of single "
        "residues (active sites, bonds, modified residues) the share found. Latent and threshold are chosen on select."
    )

    def __init__(self, config: DomainsConfig) -> None:
        self._config = config
        self._thresholds = np.unique(np.array(config.thresholds, dtype=np.float64))

    def study(self, material: Material) -> Findings:
        level = next((one for one in material.levels if one.labels.level == "token"), None)
        kept = [] if level is None else [n for n in level.classes if self._counts(level, n)]
        if level is None or not kept:
            raise DatasetError(
                "no concept of residues has enough instances on both sides (score.studies: protein.domains.instances)",
                "give annotations of more proteins, or ask for fewer instances",
            )
        postings = material.postings
        wanted = np.zeros(len(level.labels.concepts), dtype=bool)
        wanted[kept] = True

        def lists(stream: Stream, side: int, which: Int64[np.ndarray, " row"]) -> Iterator[Block]:
            return latents(postings, stream, which, len(wanted) * len(self._thresholds))

        def axes(stream: Stream, side: int, which: Int64[np.ndarray, " row"]) -> Iterator[Block]:
            return neurons(postings, material.source, level.select, stream, side, which)

        total = len(postings.poles)
        mine = self._best(level, wanted, np.flatnonzero(postings.counts_select > 0), total, lists)
        width = postings.hook.own_width
        theirs = self._best(level, wanted, np.arange(2 * width), 2 * width, axes) if self._config.controls else None
        return self._told(level, kept, mine, theirs, material)

    def _counts(self, level: Level, number: int) -> bool:
        if level.concept(number).name in DROPPED:
            return False
        sides = (level.select, level.test)
        return all(len(np.unique(one.instance[one.concept == number])) >= self._config.instances for one in sides)

    def _best(
        self,
        level: Level,
        wanted: Bool[np.ndarray, " concept"],
        units: Int64[np.ndarray, " row"],
        total: int,
        blocks: Blocks,
    ) -> Best:
        concepts = len(wanted)
        by_residue = np.array([title_of(one.name) in BY_RESIDUE for one in level.labels.concepts])
        unit, threshold = np.full(concepts, -1), np.zeros(concepts, dtype=np.int64)
        select, test = np.zeros(concepts), np.full(concepts, np.nan)
        concept_of, threshold_of = np.full(total, -1), np.zeros(total, dtype=np.int64)
        held = instances(level.select)
        for block in blocks(level.select, SELECT, units):
            f1 = domain_f1(block.activations, block.ceilings, level.select, held, self._thresholds, by_residue)
            f1[:, ~wanted] = 0
            at = f1.argmax(axis=2)
            best = f1.max(axis=2)
            row = best.argmax(axis=0)
            better = best[row, np.arange(concepts)] > select
            unit[better] = block.numbers[row[better]]
            threshold[better] = at[row[better], np.flatnonzero(better)]
            select[better] = best[row[better], np.flatnonzero(better)]
            own = best.argmax(axis=1)
            fires = best.max(axis=1) > 0
            concept_of[block.numbers[fires]] = own[fires]
            threshold_of[block.numbers[fires]] = at[np.flatnonzero(fires), own[fires]]
        test_of = np.full(total, np.nan)
        held = instances(level.test)
        judged = np.union1d(unit[unit >= 0], np.flatnonzero(concept_of >= 0))
        for block in blocks(level.test, TEST, judged):
            f1 = domain_f1(block.activations, block.ceilings, level.test, held, self._thresholds, by_residue)
            rows = np.arange(len(block.numbers))
            own = concept_of[block.numbers]
            test_of[block.numbers] = np.where(own >= 0, f1[rows, own, threshold_of[block.numbers]], np.nan)
            place = {int(number): i for i, number in enumerate(block.numbers)}
            for number in np.flatnonzero(unit >= 0):
                if int(unit[number]) in place:
                    test[number] = f1[place[int(unit[number])], number, threshold[number]]
        return Best(unit, threshold, select, test, concept_of, test_of)

    def _told(self, level: Level, kept: list[int], mine: Best, theirs: Best | None, material: Material) -> Findings:
        f1 = np.nan_to_num(mine.test[kept])
        control = np.nan_to_num(theirs.test[kept]) if theirs is not None else np.full(len(kept), np.nan)
        low, high = interval(f1, generator(material, "domains"))
        living = int((material.postings.counts_select > 0).sum())
        many = int((mine.test_of > FOUND).sum())
        against = "the best neuron of each, chosen alike" if theirs is not None else ""
        paired = int((theirs.test_of > FOUND).sum()) if theirs is not None else np.nan
        findings = [
            Finding("Mean domain F1", float(f1.mean()), len(kept), float(control.mean()), against, low, high),
            Finding(
                f"Concepts found (F1 > {FOUND:g})", float((f1 > FOUND).sum()), len(kept),
                float((control > FOUND).sum()) if theirs is not None else np.nan, against, kind="count",
            ),
            Finding(
                f"Latents with a concept (F1 > {FOUND:g})", float(many), living, float(paired),
                f"of {len(theirs.test_of)} neurons and their negatives" if theirs is not None else "", kind="count",
            ),
        ]  # fmt: skip
        if theirs is not None:
            findings.append(
                Finding("Concepts whose latent beats the neuron", float((f1 > control).sum()), len(kept), kind="count")
            )
        names = [level.concept(n).name for n in range(len(level.labels.concepts))]
        rows = []
        for i, n in sorted(enumerate(kept), key=lambda pair: -f1[pair[0]]):
            row = {
                "concept": names[n],
                "latent": material.postings.poles.name(int(mine.unit[n])) if mine.unit[n] >= 0 else "none",
                "threshold": float(self._thresholds[mine.threshold[n]]),
                "F1 on select": float(mine.select[n]),
                "F1": float(f1[i]),
                "neuron's F1": float(control[i]),
                "instances": len(np.unique(level.test.instance[level.test.concept == n])),
            }
            rows.append(row)
        names_of = [names[n] if n >= 0 else "" for n in mine.concept_of]
        measures = [
            Measure("domain F1", mine.test_of, "with its best concept, which and its threshold were chosen on select"),
            Measure("domain", names_of, "the concept with the best domain F1 on select", kind="text"),
        ]
        return Findings(findings, measures, tables={"Concepts, by the F1 of their best latent": rows})
