"""How few latents carry the model's own diagnosis: its AUROC with only the top k kept, and with them removed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.split import SELECT, TEST
from omnisae.figure import Figure
from omnisae.interventions.sae import SAE
from omnisae.studies.ranks import weighted_auroc
from omnisae.studies.resample import LEVELS, generator, weights
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_mammography.chart import curves
from omnisae_mammography.contrast import contrast, ordered
from omnisae_mammography.plugin import CurvesConfig
from omnisae_mammography.splice import Splice

KEPT, REMOVED = "kept", "removed"


@dataclass(frozen=True)
class Condition:
    """Latents that speak: `kind` is what was done to `k` latents; `random` says that chance chose them."""

    kind: str
    k: int
    random: bool
    choice: Bool[np.ndarray, " list"]


class Curves(Study):
    title = "How few latents carry the model's own diagnosis?"
    about = (
        "The model's own AUROC on test pictures while its activations are replaced by what some latents say of them: "
        "only the first k of a ranking made on select pictures, or all but these (Mammo-SAE, Nakka 2025). Control: as "
        "many living latents at random. Tokens of air are replaced as all others. Intervals draw whole groups."
    )

    def __init__(self, config: CurvesConfig) -> None:
        self.config = config

    def study(self, material: Material) -> Findings:
        splice = Splice(SAE.load(material.artifact), material.extractor, error=self.config.error)
        findings: list[Finding] = []
        figures: list[Figure] = []
        tables: dict[str, list[dict[str, Any]]] = {}
        for number, name in self._outputs(material):
            label = material.known(name)
            rows = material.rows(TEST)
            rows = rows[~np.isnan(label[rows])][: self.config.most]
            if len(set(label[rows].tolist())) < 2:
                continue
            found = self._output(material, splice, name, number, label, rows)
            findings += found[0]
            tables[f"AUROC of the model's {name}"] = found[1]
            figures.append(found[2])
        if not findings:
            raise DatasetError(
                "of no output of the model do test pictures hold both kinds", "give more examples, or other concepts"
            )
        dropped = "kept" if self.config.error else "dropped"
        notes = [f"What the autoencoder does not explain of an activation is {dropped}."]
        return Findings(findings, figures=figures, tables=tables, notes=notes)

    def _outputs(self, material: Material) -> Iterator[tuple[int, str]]:
        """The model's outputs that are concepts of pictures, with their places."""
        outputs: Sequence[str] = getattr(material.extractor, "outputs", None) or ()
        known = set(material.annotations.binary())
        if not set(outputs) & known:
            raise DatasetError(
                "nothing says which concept each output of the model stands for",
                "list them in extractor.targets, in order, e.g. [has_Mass, has_Suspicious Calcification]",
            )
        for name in self.config.concepts or ():
            if name not in set(outputs) & known:
                raise DatasetError(
                    f"the model has no output {name!r} that is a concept", did_you_mean(name, set(outputs) & known)
                )
        for number, name in enumerate(outputs):
            if name in known and (self.config.concepts is None or name in self.config.concepts):
                yield number, name

    def _output(
        self,
        material: Material,
        splice: Splice,
        name: str,
        number: int,
        label: Float[np.ndarray, " example"],
        rows: Int[np.ndarray, " row"],
    ) -> tuple[list[Finding], list[dict[str, Any]], Figure]:
        conditions = list(self._conditions(material, name, label))
        everything = np.ones(len(material.postings.poles), dtype=bool)
        read, answers = splice.answers(
            material.dataset, rows.tolist(), [None, everything, *(one.choice for one in conditions)]
        )
        positive = label[read] == 1
        drawn = weights(material, read, self.config.draws, generator(material, f"curves {name}"))
        plain = np.ones((1, len(read)))
        area = [float(weighted_auroc(one[:, number], positive, plain)[0]) for one in answers]
        ends = [np.nanquantile(weighted_auroc(one[:, number], positive, drawn), LEVELS) for one in answers]
        by = {(one.kind, one.k): at for at, one in enumerate(conditions, start=2) if not one.random}
        chance = _chance(conditions, area[2:])
        findings = [_finding(f"The model's own AUROC, {name}", area[0], ends[0], len(read), float("nan"), "")]
        findings.append(
            _finding(
                f"With the autoencoder in between, {name}", area[1], ends[1], len(read), area[0], "the model alone"
            )
        )
        table = []
        for k in self._k(material):
            row: dict[str, Any] = {"k": k}
            for kind in (KEPT, REMOVED):
                at = by[kind, k]
                control = chance[kind, k]
                findings.append(
                    _finding(
                        f"{k} latents {kind}, {name}", area[at], ends[at], len(read), control,
                        f"{k} random living latents {kind}",
                    )
                )  # fmt: skip
                row |= {f"{kind}": area[at], f"{kind}, low": ends[at][0], f"{kind}, high": ends[at][1]}
                row[f"random {kind}"] = control
            table.append(row)
        return findings, table, self._figure(name, table, area[:2], len(read), int(positive.sum()))

    def _k(self, material: Material) -> list[int]:
        living = int((np.asarray(material.postings.counts) > 0).sum())
        return sorted({min(k, living) for k in self.config.k})

    def _conditions(self, material: Material, name: str, label: Float[np.ndarray, " example"]) -> Iterator[Condition]:
        """What is done to the latents: the ranking is made on SELECT."""
        lists = len(material.postings.poles)
        living = np.flatnonzero(np.asarray(material.postings.counts) > 0)
        order = self._order(material, label, living)
        random = generator(material, f"random latents {name}")
        for k in self._k(material):
            picks = [(order[:k], False)]
            picks += [(random.choice(living, size=k, replace=False), True) for _ in range(self.config.random)]
            for chosen, chance in picks:
                inside = np.zeros(lists, dtype=bool)
                inside[chosen] = True
                yield Condition(KEPT, k, chance, inside)
                yield Condition(REMOVED, k, chance, ~inside)

    def _order(
        self, material: Material, label: Float[np.ndarray, " example"], living: Int[np.ndarray, " list"]
    ) -> Int[np.ndarray, " list"]:
        """Living latents, the most important first."""
        rows = material.rows(SELECT)
        rows = rows[~np.isnan(label[rows])]
        found = contrast(material.means.tocsr()[rows], label[rows] == 1)
        if self.config.by == "contrast":
            return living[ordered(np.abs(found.d[living]), len(living))]
        within = living[ordered(found.within[living], len(living))]
        without = living[ordered(found.without[living], len(living))]
        turns = np.stack([within, without], axis=1).ravel()
        _, first = np.unique(turns, return_index=True)
        return turns[np.sort(first)]

    def _figure(
        self, name: str, table: Sequence[dict[str, Any]], areas: Sequence[float], images: int, positive: int
    ) -> Figure:
        keys = (KEPT, REMOVED, f"random {KEPT}", f"random {REMOVED}")
        places = [float(i) for i in range(len(table))]
        return curves(
            {key: np.array([row[key] for row in table]) for key in keys}, places,
            marks=[str(row["k"]) for row in table], at=places, low=0.0, names=("latents", "AUROC"),
            title=f"AUROC of the model's {name}",
            caption=f"{images} test images, {positive} with it. The model alone: {areas[0]:.3f}; with the autoencoder "
            f"in between: {areas[1]:.3f}.",
        )  # fmt: skip


def _finding(name: str, value: float, ends: Float[np.ndarray, " 2"], n: int, control: float, against: str) -> Finding:
    return Finding(name, value, n, control, against, float(ends[0]), float(ends[1]), kind="share")


def _chance(conditions: Sequence[Condition], areas: Sequence[float]) -> dict[tuple[str, int], float]:
    """The mean AUROC of random choices by what was done and k."""
    found: dict[tuple[str, int], list[float]] = {}
    for one, area in zip(conditions, areas, strict=True):
        if one.random:
            found.setdefault((one.kind, one.k), []).append(area)
    return {key: float(np.mean(values)) for key, values in found.items()}
