"""The study `diffusion.steering`."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from omnisae.errors import ConfigError
from omnisae.extract.split import TEST
from omnisae.figure import Figure
from omnisae.interventions.weights import Painted, Weighting
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_diffusion.evaluation.levels import Levels
from omnisae_diffusion.evaluation.studio import Studio
from omnisae_diffusion.generated import Concept
from omnisae_diffusion.operations import Steer
from omnisae_diffusion.plugin_studies import SteeringConfig
from omnisae_diffusion.selection.table import LatentTable
from omnisae_diffusion.views.grids import painted, sweep
from omnisae_diffusion.views.lines import strength_lines


class Steering(Study):
    title: ClassVar[str] = "Does adding a concept's latents bring it into other pictures, the more the stronger?"
    about: ClassVar[str] = (
        "What the concept's codes have more or less than the others', at every time and place (or the means of the "
        "latents that SAeUron's score chooses, everywhere alike), is added with a strength; it is measured on select "
        "prompts. On test prompts that ask for other concepts a classifier says which pictures show it. Control: as "
        "much added to random latents."
    )

    def __init__(self, config: SteeringConfig) -> None:
        if list(config.strengths) != sorted(set(config.strengths)):
            raise ConfigError(f"strengths are {list(config.strengths)}", "give them ascending, each once")
        self.config = config

    def study(self, material: Material) -> Findings:
        config = self.config
        studio = Studio(material, config.classifier.build(), (config.column,))
        levels = Levels(studio, config.column)
        concepts = levels.concepts(config.concepts)
        counts: dict[str, list[tuple[int, int]]] = {}
        control: list[list[tuple[int, int]]] = []
        figures: list[Figure] = []
        for concept in concepts:
            table = levels.map(concept) if config.way == "map" else levels.table(concept, config.percentile)
            rows = studio.some(studio.without([concept], TEST), config.pictures, f"steer {concept}")
            counts[str(concept)] = [self._hits(studio, concept, table, rows, s) for s in config.strengths]
            random = levels.control(concept, table)
            control.append([self._hits(studio, concept, random, rows, s) for s in config.strengths])
            figures += self._drawn(studio, concept, table, rows)
        pooled = [
            (sum(one[at][0] for one in control), sum(one[at][1] for one in control))
            for at in range(len(config.strengths))
        ]
        lines = [
            strength_lines(
                config.strengths,
                dict(list(counts.items())[at : at + 8]),
                pooled,
                control_name="random latents",
                what="pictures of other prompts that show the concept",
            )
            for at in range(0, len(counts), 8)
        ]
        return Findings(
            findings=self._findings(counts, pooled),
            figures=[*lines, *figures],
            tables={"Share of other prompts' pictures that show the concept, by strength": self._rows(counts, control)},
        )

    def _hits(
        self, studio: Studio, concept: Concept, table: LatentTable, rows: np.ndarray, strength: float
    ) -> tuple[int, int]:
        made = studio.make(studio.asks(rows), *_steered(table, strength, studio.where))
        judged = studio.classifier.judge(made).labels[concept.domain]
        return sum(label == concept.name for label in judged), len(rows)

    def _drawn(self, studio: Studio, concept: Concept, table: LatentTable, rows: np.ndarray) -> list[Figure]:
        config = self.config
        some = studio.asks(rows[: config.slider])
        if not some:
            return []
        made = [studio.make(some, *_steered(table, s, studio.where)) for s in config.strengths]
        labels, seeds = [ask.text or f"label {ask.label}" for ask in some], [ask.seed for ask in some]
        judged = [studio.classifier.judge(one).labels[concept.domain] for one in made]
        below = [[column[i] for column in judged] for i in range(len(some))]
        pictures = [[column[i] for column in made] for i in range(len(some))]
        found = [sweep(pictures, config.strengths, labels, seeds=seeds, below=below, title=f"Towards {concept}")]
        if config.paint and {"y", "x"} <= set(studio.sae.info.hook.axes):
            height, width = made[0].shape[1:3]
            half = np.zeros((height, width), dtype=np.float32)
            half[:, width // 2 :] = 1.0
            after = studio.make(some, *_steered(table, config.strengths[-1], (*studio.where, Painted(half))))
            found.append(
                painted(
                    list(studio.make(some)),
                    list(after),
                    [half > 0] * len(some),
                    labels,
                    seeds=seeds,
                    title=f"{concept} painted on the right half",
                )
            )
        return found

    def _findings(self, counts: dict[str, list[tuple[int, int]]], control: Sequence[tuple[int, int]]) -> list[Finding]:
        first, last = [_rate(one[0]) for one in counts.values()], [_rate(one[-1]) for one in counts.values()]
        falls = [max([0.0, *(_rate(a) - _rate(b) for a, b in pairwise(one))]) for one in counts.values()]
        mean = np.array([[_rate(at) for at in one] for one in counts.values()]).mean(axis=0)
        n = sum(one[-1][1] for one in counts.values())
        said = f"strength {self.config.strengths[-1]:g}; unsteered {100 * np.mean(first):.1f} %"
        return [
            Finding("shows the concept at full strength", float(np.mean(last)), n, _rate(control[-1]), "random latents",
                    kind="share", remark=said),
            Finding("mean rate never falls with strength", float((np.diff(mean) >= 0).all()),
            len(self.config.strengths),
                    remark="1: the mean over concepts rises, or stays, at every strength", kind="raw"),
            Finding("largest fall of a concept's rate from one strength to the next", float(np.max(falls)), n,
                    kind="share"),
        ]  # fmt: skip

    def _rows(
        self, counts: dict[str, list[tuple[int, int]]], control: Sequence[list[tuple[int, int]]]
    ) -> list[dict[str, Any]]:
        rows = []
        for (name, own), other in zip(counts.items(), control, strict=True):
            told = {f"× {s:g}": _rate(one) for s, one in zip(self.config.strengths, own, strict=True)}
            rows.append({"concept": name, **told, "random latents": _rate(other[-1]), "n": own[-1][1]})
        return rows


def _rate(count: tuple[int, int]) -> float:
    return count[0] / max(count[1], 1)


def _steered(table: LatentTable, strength: float, weights: tuple[Weighting, ...] = ()) -> list[Steer]:
    """The operation; none at strength 0, where it would change nothing."""
    return [Steer(table=table, strength=strength, weights=weights)] if strength else []
