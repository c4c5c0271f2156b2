"""The study `diffusion.erasure`."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from omnisae.errors import ConfigError, did_you_mean
from omnisae.extract.split import TEST
from omnisae.figure import Figure
from omnisae.interventions.operation import Operation, Scale
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_diffusion.evaluation.attack import attacked
from omnisae_diffusion.evaluation.erasing import Choice, Erasing, Rows
from omnisae_diffusion.evaluation.quality import quality
from omnisae_diffusion.evaluation.studio import Studio
from omnisae_diffusion.generated import Concept, Generated
from omnisae_diffusion.plugin_studies import ErasureConfig
from omnisae_diffusion.unlearning import Unlearning, sequence, unlearning
from omnisae_diffusion.views.grids import before_after

TABLES = "tables"


class Erasure(Study):
    title: ClassVar[str] = "Is a concept gone when its latents are turned round, and is all else kept?"
    about: ClassVar[str] = (
        "Ways are tried on select prompts from the mildest on, until the concept is gone and others are kept: "
        "latents chosen at every scheduler time by SAeUron's score (Cywiński & Deja 2025), their codes multiplied by "
        "a factor where they exceed their usual level; or what the concept's codes have more or less than the "
        "others' at every time and place, taken away; or the way from its codes to another concept's added, so that "
        "the other stands in its place. A gate leaves pictures alone, bit for bit, in which the activations tell of no "
        "concept. On test prompts a classifier then says what the pictures show, as "
        "UnlearnCanvas counts it (Zhang et al. 2024): UA, the share of the concept's own prompts that no longer show "
        "it; IRA, the share of other prompts of its domain that still show what was asked for; CRA, the same in "
        "other domains. Control: as many random latents, treated alike under the same gate."
    )

    def __init__(self, config: ErasureConfig) -> None:
        self.config = config

    def study(self, material: Material) -> Findings:
        config = self.config
        studio = Studio(material, config.classifier.build(), (config.column, *config.across))
        erasing = Erasing(studio, config)
        concepts = erasing.levels.concepts(config.concepts)
        choices = {one: erasing.choose(one) for one in concepts}
        findings, rows, figures = [_nothing_changes(studio, config)], [], []
        for one, choice in choices.items():
            choice.table.save(_place(material, one))
            told, figure = self._one(studio, erasing, choice)
            rows.append(told)
            figures += figure
        findings += _summary(rows, config)
        tables: dict[str, Sequence[dict[str, Any]]] = {"Each concept in turn": rows}
        tables |= self._several(studio, choices)
        if config.attack is not None:
            tables["Search for inputs that bring it back"] = attacked(
                studio, next(iter(choices.values())), config.attack
            )
        if config.quality is not None:
            findings += quality(studio, next(iter(choices.values())), config)
        notes = [
            "A concept's table lies beside the codes (tables/…safetensors). Of the way turn, {type: diffusion.erase, "
            "table: …, relative: true} uses it; of the way map, {type: diffusion.steer, table: …}; with the strength "
            "below, gated and weights as here. Of the way swap it is {type: diffusion.steer}, too.",
            *_missed(choices, config),
        ]
        return Findings(findings=findings, figures=figures, tables=tables, notes=notes)

    def _one(self, studio: Studio, erasing: Erasing, choice: Choice) -> tuple[dict[str, Any], list[Figure]]:
        """A concept erased, on test prompts: a line of the table, and pictures."""
        config, concept = self.config, choice.concept
        own, others = self._test(studio, [concept])
        edited, before = self._pair(studio, np.concatenate([own, others]), choice.operation())
        numbers = unlearning(edited, [concept], before)
        control = erasing.shown(concept, studio.make(studio.asks(own), choice.random()))
        line = _line(choice, numbers, control, len(own))
        if not config.grid:
            return line, []
        some = np.concatenate([own[: config.grid], others[: config.grid]])
        asks = studio.asks(some)
        figure = before_after(
            list(studio.make(asks)),
            list(studio.make(asks, choice.operation())),
            [ask.text or f"label {ask.label}" for ask in asks],
            seeds=[ask.seed for ask in asks],
            control=list(studio.make(asks, choice.random())),
            control_name="random latents",
            title=f"{concept} erased",
        )
        return line, [figure]

    def _several(self, studio: Studio, choices: dict[Concept, Choice]) -> dict[str, Sequence[dict[str, Any]]]:
        """Concepts erased at once, and one after the other."""
        config, found = self.config, {}
        if config.together:
            found["Several at once"] = [
                self._at_once(studio, [self._chosen(choices, word) for word in group]) for group in config.together
            ]
        if config.sequence:
            order = [self._chosen(choices, word) for word in config.sequence]
            found["One after the other"] = self._in_turn(studio, order)
        return found

    def _chosen(self, choices: dict[Concept, Choice], word: str) -> Choice:
        concept = Concept(self.config.column, word)
        if concept not in choices:
            raise ConfigError(
                f"{word!r} is to be erased with others, and not alone",
                did_you_mean(word, (one.name for one in choices)) + "; name it under `concepts`, too",
            )
        return choices[concept]

    def _at_once(self, studio: Studio, group: Sequence[Choice]) -> dict[str, Any]:
        concepts = [choice.concept for choice in group]
        own, others = self._test(studio, concepts)
        edited, before = self._pair(studio, np.concatenate([own, others]), *(one.operation() for one in group))
        numbers = unlearning(edited, concepts, before)
        return {"erased": ", ".join(map(str, concepts)), **_numbers(numbers)}

    def _in_turn(self, studio: Studio, order: Sequence[Choice]) -> list[dict[str, Any]]:
        concepts = [choice.concept for choice in order]
        own, others = self._test(studio, concepts)
        rows = np.concatenate([own, others])
        steps = [self._pair(studio, rows, *(one.operation() for one in order[: at + 1]))[0] for at in range(len(order))]
        before = studio.judged(rows, studio.make(studio.asks(rows)))
        return [
            {
                "erased so far": ", ".join(map(str, step.erased)),
                "least gone": f"{100 * step.worst.value:.1f} % gone ({step.worst.name})",
                **_numbers(step.all),
            }
            for step in sequence(steps, concepts, before)
        ]

    def _test(self, studio: Studio, concepts: Sequence[Concept]) -> tuple[Rows, Rows]:
        salt = "+".join(map(str, concepts))
        own = [studio.some(studio.of(one, TEST), self.config.own, f"test own {one}") for one in concepts]
        others = studio.some(studio.without(concepts, TEST), self.config.others, f"test others {salt}")
        return np.concatenate(own), others

    def _pair(self, studio: Studio, rows: Rows, *operations: Operation) -> tuple[Generated, Generated]:
        asks = studio.asks(rows)
        return studio.judged(rows, studio.make(asks, *operations)), studio.judged(rows, studio.make(asks))


def _place(material: Material, concept: Concept) -> Any:
    folder = material.folder / TABLES
    folder.mkdir(parents=True, exist_ok=True)
    safe = "".join(letter if letter.isalnum() else "_" for letter in str(concept))
    return folder / f"{safe}.safetensors"


def _nothing_changes(studio: Studio, config: ErasureConfig) -> Finding:
    """An edit that changes nothing must leave every picture as it is, bit for bit."""
    rows = studio.some(studio.material.rows(TEST), 16, "nothing")
    asks = studio.asks(rows)
    every = Scale(latents=tuple(range(studio.sae.autoencoder.latents)), amount=1.0)
    size, same = studio.extractor.batch_size(), 0
    for start in range(0, len(asks), size):
        part = asks[start : start + size]
        plain, edited = studio.extractor.process.generate(part), studio.make(part, every)
        same += int((plain == edited).all(axis=(1, 2, 3)).sum())
    said = "all codes multiplied by 1, compared bit for bit with the plain pictures"
    return Finding("unchanged by an edit of nothing", same / len(rows), len(rows), kind="share", remark=said)


def _line(choice: Choice, numbers: Unlearning, control: float, n: int) -> dict[str, Any]:
    trial, table = choice.trial, choice.table
    return {
        "concept": str(choice.concept),
        "still shown": numbers.ua.n and 1 - numbers.ua.value,
        "by random latents": control,
        "n own": n,
        **_numbers(numbers),
        "points lost in its domain": 0.0 - numbers.ira.change,
        "latents a step": float(np.mean([len(entry) for entry in table.entries])),
        "way": trial.way,
        "instead": trial.instead,
        "percentile": trial.percentile,
        "strength": trial.strength,
        "goal reached on select": "yes" if choice.reached else "no",
    }


def _numbers(numbers: Unlearning) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, score in (("UA", numbers.ua), ("IRA", numbers.ira), ("CRA", numbers.cra)):
        if score.n:
            found |= {name: score.value, f"{name} unedited": score.unedited, f"{name} n": score.n}
    return found


def _summary(rows: Sequence[dict[str, Any]], config: ErasureConfig) -> list[Finding]:
    """Over the concepts: the worst that is still shown, the largest loss, and how many reach the goal."""
    n = len(rows)
    left = [float(row["still shown"]) for row in rows]
    control = [float(row["by random latents"]) for row in rows]
    lost = [float(row["points lost in its domain"]) for row in rows]
    reached = [a <= config.left and b <= config.loss for a, b in zip(left, lost, strict=True)]
    chance = [a <= config.left for a in control]
    said = f"at most {100 * config.left:g} % of own prompts show it, others lose at most {config.loss:g} points"
    return [
        Finding("concepts erased", float(np.mean(reached)), n, float(np.mean(chance)),
                "random latents, whatever is lost", kind="share", remark=said),
        Finding("still shown, mean over concepts", float(np.mean(left)), n, float(np.mean(control)),
                "random latents", kind="share"),
        Finding("still shown, the worst", float(np.max(left)), n, float(np.min(control)), "the best random latents",
                kind="share"),
        Finding("points lost by other prompts, mean", float(np.mean(lost)), n, kind="raw"),
        Finding("points lost by other prompts, the worst", float(np.max(lost)), n, kind="raw"),
    ]  # fmt: skip


def _missed(choices: dict[Concept, Choice], config: ErasureConfig) -> list[str]:
    missed = [str(one) for one, choice in choices.items() if not choice.reached]
    if not missed:
        return []
    return [
        f"No way of erasing {', '.join(missed)} reached the goal on select prompts (at most {100 * config.left:g} % "
        f"still shown, at most {config.loss:g} points lost); the nearest was taken."
    ]
