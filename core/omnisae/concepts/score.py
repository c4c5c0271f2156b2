"""Scoring latents against concepts: chosen on SELECT, measured on TEST, beside their controls.

Writes concepts.parquet and concepts.json; every column and formula is in docs/metrics.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from omnisae.atomic import write_json
from omnisae.concepts.concept import Concept
from omnisae.concepts.controls import Controls, controls
from omnisae.concepts.examine import COUNTS, Examined, examine
from omnisae.concepts.level import Level, Unscored, levels
from omnisae.concepts.metric import Evidence
from omnisae.concepts.metrics import F1, Spearman
from omnisae.concepts.multiplicity import benjamini_hochberg
from omnisae.concepts.pick import Picks, pick
from omnisae.concepts.table import METRICS, write_table
from omnisae.config import ScoreConfig
from omnisae.errors import ConfigError
from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor
from omnisae.extract.split import NAMES, SELECT, TEST
from omnisae.postings.poles import Poles
from omnisae.postings.postings import Postings
from omnisae.store.source import TokenSource

Observe = Callable[[dict[str, Any]], None]
Column = Float64[np.ndarray, " row"]


def score(
    postings: Postings,
    dataset: Dataset,
    extractor: Extractor,
    source: TokenSource,
    config: ScoreConfig,
    out: Path,
    *,
    observe: Observe = lambda event: None,
) -> list[Level]:
    """Score all latents against all concepts of the dataset into `out`/concepts.parquet and `out`/concepts.json.
    Returns the labels by which it did, for further questions.

    `observe` is told of progress: {"event": "score", "step", "done", "of"}.
    Raises DatasetError where labels join no example or are inconsistent, ConfigError where thresholds are out of range
    or two metrics fill one column, StoreError where the source's tokens are not those that were encoded.
    """
    thresholds = _thresholds(config)
    found, unscored, notes = levels(postings, dataset, extractor, config)
    observe({"event": "score", "step": "labels", "done": 1, "of": 1})
    picks = pick(postings, found, thresholds, config.top)
    observe({"event": "score", "step": "choice", "done": 1, "of": 1})
    examined = [_examine(postings, level, mine, config, observe) for level, mine in zip(found, picks, strict=True)]
    compared = controls(postings, source, found, thresholds, config.controls, config.split.seed)
    observe({"event": "score", "step": "controls", "done": 1, "of": 1})
    rows = _Rows.of(found, picks, examined)
    columns, extra = _metrics(rows.evidence(postings, found), config)
    p = rows.p
    table = columns | {
        **_latents(postings.poles, rows.latent),
        "concept": [rows.concepts[c].name for c in rows.concept],
        "level": [rows.concepts[c].level for c in rows.concept],
        "threshold": rows.threshold,
        "n_select": rows.n_select[rows.concept],
        "n_test": rows.n_test[rows.concept],
        "p_value": p,
        "q_value": benjamini_hochberg(p),
    }
    told = _told(found, compared)
    for family in ("neuron", "pca", "random"):
        f1 = np.array([_f1(entry, family) for entry in told], dtype=np.float64)
        table[f"control_{family}_f1"] = f1[rows.concept]
    out.mkdir(parents=True, exist_ok=True)
    write_table(out / "concepts.parquet", table, extra)
    facts = _facts(postings, config, thresholds, compared, notes, unscored)
    write_json(out / "concepts.json", {"concepts": told, **facts, "columns": extra, "rows": len(rows.latent)})
    return found


def _thresholds(config: ScoreConfig) -> Float64[np.ndarray, " threshold"]:
    thresholds = np.unique(np.array(config.thresholds, dtype=np.float64))
    if not len(thresholds) or not ((thresholds >= 0) & (thresholds < 1)).all():
        raise ConfigError(
            f"score.thresholds: {list(config.thresholds)}: thresholds lie in [0, 1), and there is at least one",
            "they are on activations divided by their maximum: 0 asks whether a latent fires at all",
        )
    return thresholds


def _examine(postings: Postings, level: Level, picks: Picks, config: ScoreConfig, observe: Observe) -> Examined:
    def tell(done: int, of: int) -> None:
        observe({"event": "score", "step": f"{level.labels.level} concepts", "done": done, "of": of})

    return examine(
        postings, level, picks, permutations=config.controls.permutations, seed=config.split.seed, observe=tell
    )


@dataclass(frozen=True)
class _Rows:
    """The rows of all levels, one after another; `concept` counts among all scored concepts."""

    concepts: list[Concept]
    numbers: list[int]
    n_select: np.ndarray
    n_test: np.ndarray
    latent: np.ndarray
    concept: np.ndarray
    threshold: Column
    counts: dict[str, Column]
    p: Column

    @staticmethod
    def of(found: Sequence[Level], picks: Sequence[Picks], examined: Sequence[Examined]) -> "_Rows":
        scored = [(level, number) for level in found for number in _numbers(level)]
        first = np.cumsum([0, *(len(_numbers(level)) for level in found)])
        concept = [
            first[i] + np.searchsorted(_numbers(level), mine.number)
            for i, (level, mine) in enumerate(zip(found, picks, strict=True))
        ]
        return _Rows(
            concepts=[level.concept(number) for level, number in scored],
            numbers=[number for _, number in scored],
            n_select=np.array([len(level.select.known(number)) for level, number in scored], dtype=np.int64),
            n_test=np.array([len(level.test.known(number)) for level, number in scored], dtype=np.int64),
            latent=_all(mine.latent for mine in picks).astype(np.int64),
            concept=_all(concept).astype(np.int64),
            threshold=_all(mine.threshold for mine in picks),
            counts={name: _all(part.counts[name] for part in examined) for name in COUNTS},
            p=_all(part.p for part in examined),
        )

    def evidence(self, postings: Postings, found: Sequence[Level]) -> Evidence:
        return Evidence(
            postings,
            self.concepts,
            self.latent,
            self.concept,
            self.threshold,
            self.counts,
            {level.labels.level: level.test for level in found},
            self.numbers,
        )


def _latents(poles: Poles, lists: np.ndarray) -> dict[str, Any]:
    """The columns that say which latent a row is about, and which sign of its codes where they are signed."""
    signs = {"sign": [poles.sign(int(pole)) for pole in lists]} if poles.signed else {}
    return {"latent": poles.latent(lists), **signs}


def _numbers(level: Level) -> list[int]:
    """The scored concepts of a level in order."""
    return sorted((*level.classes, *level.fractions))


def _all(parts: Any) -> np.ndarray:
    found = list(parts)
    return np.concatenate(found) if found else np.empty(0)


def _metrics(evidence: Evidence, config: ScoreConfig) -> tuple[dict[str, Any], list[str]]:
    """The metrics' columns. What chooses rows (F1, Spearman) is always shown; of the rest, what the config names."""
    columns: dict[str, Any] = dict(F1().score(evidence)) | dict(Spearman().score(evidence))
    filled = dict.fromkeys(F1.columns, "core.f1") | dict.fromkeys(Spearman.columns, "core.spearman")
    extra: list[str] = []
    for component in config.metrics:
        if component.type in filled.values():
            continue
        metric = component.build()
        values: Mapping[str, Any] = metric.score(evidence)
        for name in metric.columns:
            column = name if name in METRICS else f"{component.type}.{name}"
            if column in filled:
                raise ConfigError(
                    f"score.metrics: {component.type} and {filled[column]} both fill the column {column!r}",
                    "name one of them",
                )
            filled[column] = component.type
            columns[column] = np.asarray(values[name], dtype=np.float64)
            if column not in METRICS:
                extra.append(column)
    return columns, extra


def _told(found: Sequence[Level], compared: Controls) -> list[dict[str, Any]]:
    """concepts.json's list of concepts."""
    told = []
    for i, level in enumerate(found):
        for number in _numbers(level):
            concept = level.concept(number)
            entry: dict[str, Any] = {"name": concept.name, "level": concept.level, "kind": concept.kind}
            for side, stream in (("select", level.select), ("test", level.test)):
                region, fraction = concept.kind == "region", concept.kind == "fraction"
                entry |= {
                    f"n_{side}": len(stream.known(number)),
                    f"positives_{side}": None if fraction else stream.positives_of(number),
                    f"examples_{side}": stream.examples(number),
                    f"instances_{side}": stream.truth(number).instances if region else None,
                }
            best = compared.best[i][number]
            entry["controls"] = {family: best.get(family) for family in ("neuron", "pca", "random")}
            told.append(entry)
    return told


def _f1(entry: dict[str, Any], family: str) -> float:
    best = entry["controls"][family]
    return float(best["f1"]) if best and "f1" in best else float("nan")


def _facts(
    postings: Postings,
    config: ScoreConfig,
    thresholds: Column,
    compared: Controls,
    notes: list[str],
    unscored: Sequence[Unscored],
) -> dict[str, Any]:
    sides = postings.split[postings.example]
    return {
        "unscored": [
            {
                "name": entry.concept.name,
                "level": entry.concept.level,
                "kind": entry.concept.kind,
                "reason": entry.reason,
            }
            for entry in unscored
        ],
        "thresholds": thresholds.tolist(),
        "split": config.split.model_dump(mode="json")
        | {
            "examples": {name: int((postings.split == side).sum()) for side, name in enumerate(NAMES)},
            "tokens": {NAMES[side]: int((sides == side).sum()) for side in (SELECT, TEST)},
        },
        "permutations": config.controls.permutations,
        "controls": {name: {"units": units} for name, units in compared.units.items()},
        "metrics": [metric.type for metric in config.metrics],
        "notes": notes + [f"{e.concept.name} ({e.concept.level}) is not scored: {e.reason}" for e in unscored],
    }
