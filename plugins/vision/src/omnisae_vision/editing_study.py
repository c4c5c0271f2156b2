"""The study `vision.region_effects`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.interventions.effects import matched_controls
from omnisae.interventions.sae import SAE
from omnisae.report.words import whole
from omnisae.studies.resample import LEVELS, generator, in_pairs, interval, weights
from omnisae.studies.study import Finding, Findings, Kind, Material, Measure, Study
from omnisae_vision import editing_answers
from omnisae_vision.editing_chart import chart
from omnisae_vision.editing_regions import Regions, Subject
from omnisae_vision.editing_trials import INSIDE, OTHERS, OUTSIDE, RANDOM, Bench, Change, Trial
from omnisae_vision.plugin_edits import RegionEffectsConfig

DRAWS = 1000
AGAINST = {
    RANDOM: "the same tokens moved as far in a random direction",
    OTHERS: "the same tokens moved as far along latents that fire as often",
    OUTSIDE: "the same edit outside the region",
}


@dataclass(frozen=True)
class Result:
    """What one latent's edits change: the share of decisions or the shift of every picture, by condition."""

    subject: Subject
    target: str
    by_name: bool
    rows: Int[np.ndarray, " row"]
    changes: Mapping[str, Change]

    def mean(self, condition: str, field: str = "target") -> float:
        """The mean over pictures; NaN where none is known."""
        return _mean(getattr(self.changes[condition], field))


class RegionEffects(Study):
    title: ClassVar[str] = "What does switching a latent off in a region do to the model's answer?"
    about: ClassVar[str] = (
        "On test pictures a latent is switched off at the tokens of a region (or on, where it is silent), and the "
        "model answers again. Target changed: the share of decisions about the target that are then others; others "
        "changed: the same share of all other decisions (Stevens et al. 2025, SAE-V). Of whole pictures the target is "
        "the output of the concept's name, else the one that the edit moves most on select pictures; of a dense answer "
        "it is the places of the region. Controls move the same tokens as far: in random directions, and along the "
        "decoder rows of latents that fire as often."
    )

    def __init__(self, config: RegionEffectsConfig) -> None:
        self.config = config

    def study(self, material: Material) -> Findings:
        config, extractor = self.config, material.extractor
        if extractor.model is None:
            raise DatasetError("the extractor has no model, so nothing answers", "use an extractor that runs a model")
        answers = editing_answers.answers(extractor, config.dense)
        sigmoid = editing_answers.is_sigmoid(extractor, config.decide)
        sae = SAE.load(material.artifact).attach(extractor.model)
        bench, regions = Bench(sae, extractor, material.dataset, answers, sigmoid), Regions(material, config)
        subjects = regions.subjects()
        others = self._others(material, subjects)
        results, left_out = [], []
        names: list[str] | None = None
        for subject in subjects:
            chosen, judged = regions.places(subject, SELECT), regions.places(subject, TEST)
            if not len(chosen.rows) or len(judged.rows) < 2:
                left_out.append(str(material.postings.poles.name(subject.list)))
                continue
            if names is None:
                names = editing_answers.names(extractor, config.outputs, bench.outputs(judged))
            trial = self._trial(material, subject, others[subject.list])
            by_name = editing_answers.named_like(subject.concept, names)
            target = bench.target(trial, chosen) if by_name is None else by_name
            rows, changes = bench.run(trial, judged, target)
            results.append(Result(subject, names[target], by_name is not None, rows, changes))
        if not results:
            raise DatasetError(
                f"none of {len(subjects)} latents has a region in a select picture and in two test pictures",
                "score more pictures, or set region: firing",
            )
        return self._told(material, results, left_out, dense=answers.dense)

    def _others(self, material: Material, subjects: Sequence[Subject]) -> dict[int, list[int]]:
        """For each latent, others that fire as often on the select side."""
        counts = np.asarray(material.postings.counts_select).tolist()
        lists = [one.list for one in subjects]
        poles = material.postings.poles
        return matched_controls(counts, lists, each=self.config.others, seed=material.seed, poles=poles)

    def _trial(self, material: Material, subject: Subject, others: Sequence[int]) -> Trial:
        poles = material.postings.poles
        return Trial(
            latent=int(poles.latent(subject.list)),
            sign=poles.sign(subject.list),
            switch=self.config.switch,
            amount=self.config.amount,
            others=[(int(poles.latent(one)), poles.sign(one)) for one in others],
            draws=self.config.draws,
            seed=(material.seed, subject.list),
        )

    def _told(self, material: Material, results: Sequence[Result], left_out: Sequence[str], *, dense: bool) -> Findings:
        switch = self.config.switch
        how = f"{switch}, dense" if dense else switch
        where = f"when it is switched {switch} in its region" + (", read at every place" if dense else "")
        told: dict[str, tuple[str, str, Kind]] = {
            f"target changed ({how})": ("target", f"share of target decisions that change {where}", "share"),
            f"others changed ({how})": ("other", f"share of other decisions that change {where}", "share"),
            f"target shift ({how})": ("shift", f"mean change of the target's logit {where}", "signed"),
        }
        measures = [
            Measure(name, _by_list(material, results, field), note, kind) for name, (field, note, kind) in told.items()
        ]
        pictures = whole(sum(len(one.rows) for one in results))
        notes = [_note(self.config, dense), f"n counts latents; they were edited in {pictures} pictures in all."]
        if left_out:
            notes.append(f"Too few pictures with a region, so not edited: latents {', '.join(left_out)}.")
        strongest = sorted(results, key=lambda one: -np.nan_to_num(one.mean(INSIDE), nan=-1.0))
        rows = [_row(material, one) for one in strongest]
        return Findings(
            findings=_findings(material, results, switch),
            measures=measures,
            figures=[chart(rows, switch)],
            tables={f"Latents switched {switch} in their region": rows},
            notes=notes,
        )


class RegionEffectsOn(RegionEffects):
    """The same question of a latent that is switched on."""

    title: ClassVar[str] = "What does switching a latent on in a region do to the model's answer?"


class DenseEffects(RegionEffects):
    """The same question of what the model answers at every place."""

    title: ClassVar[str] = "What does switching a latent off in a region do to the model's answer at every place?"


class DenseEffectsOn(RegionEffects):
    """The same question of a latent that is switched on, and of every place."""

    title: ClassVar[str] = "What does switching a latent on in a region do to the model's answer at every place?"


def build(config: RegionEffectsConfig) -> RegionEffects:
    """The study that a config asks for, with the question as its title."""
    kinds: dict[tuple[str, bool], type[RegionEffects]] = {
        ("off", False): RegionEffects,
        ("on", False): RegionEffectsOn,
        ("off", True): DenseEffects,
        ("on", True): DenseEffectsOn,
    }
    return kinds[config.switch, config.dense is not None](config)


def _findings(material: Material, results: Sequence[Result], switch: str) -> list[Finding]:
    random = generator(material, f"region effects {switch}")

    def found(name: str, field: str, condition: str, kind: Kind = "share") -> Finding:
        values, controls = (np.array([one.mean(at, field) for one in results]) for at in (INSIDE, condition))
        if field == "shift":
            values, controls = np.abs(values), np.abs(controls)
        ends = interval(values, random, times=DRAWS)
        remark = in_pairs(values, controls, random)
        return Finding(
            name, _mean(values), len(results), _mean(controls), AGAINST[condition], *ends, kind=kind, remark=remark
        )

    return [
        *(found(f"Target changed, against {_SHORT[condition]}", "target", condition) for condition in AGAINST),
        found("Others changed", "other", RANDOM),
        found("Size of the target's shift", "shift", RANDOM, "raw"),
    ]


_SHORT = {RANDOM: "random directions", OTHERS: "other latents", OUTSIDE: "outside"}


def _row(material: Material, one: Result) -> dict[str, Any]:
    """A latent's line of the table, with the interval by whole groups of pictures."""
    low, high = _ends(material, one.rows, one.changes[INSIDE].target)
    return {
        "latent": str(material.postings.poles.name(one.subject.list)),
        "concept": one.subject.concept,
        "target": one.target,
        "target known by": "name" if one.by_name else "select pictures",
        "pictures": len(one.rows),
        "target changed": one.mean(INSIDE),
        "low": low,
        "high": high,
        "random direction": one.mean(RANDOM),
        "other latents": one.mean(OTHERS),
        "outside": one.mean(OUTSIDE),
        "others changed": one.mean(INSIDE, "other"),
        "target shift": one.mean(INSIDE, "shift"),
        "shift, random": one.mean(RANDOM, "shift"),
    }


def _ends(material: Material, rows: Int[np.ndarray, " row"], values: Float[np.ndarray, " row"]) -> tuple[float, float]:
    known = ~np.isnan(values)
    if known.sum() < 2:
        return float("nan"), float("nan")
    drawn = weights(material, rows[known], DRAWS, generator(material, "region effects"))
    total = drawn.sum(axis=1)
    means = (drawn @ values[known])[total > 0] / total[total > 0]
    low, high = np.quantile(means, LEVELS)
    return float(low), float(high)


def _by_list(material: Material, results: Sequence[Result], field: str) -> Float[np.ndarray, " list"]:
    out = np.full(len(material.postings.poles), np.nan)
    for one in results:
        out[one.subject.list] = one.mean(INSIDE, field)
    return out


def _note(config: RegionEffectsConfig, dense: bool) -> str:
    where = "of its concept" if config.region == "mask" else "at which it fires"
    if config.switch == "off":
        said = f"Regions are the tokens {where}, in test pictures in which the latent fires there."
        outside = "Outside means all other tokens."
    else:
        said = (
            f"Regions are the tokens {where} in another picture, laid over test pictures in which the latent is silent."
        )
        outside = "Outside means as many other tokens, drawn at random."
    read = "The answer is read at every place." if dense else "The answer is read of whole pictures."
    return f"{said} {outside} {read}"


def _mean(values: Float[np.ndarray, " item"]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
