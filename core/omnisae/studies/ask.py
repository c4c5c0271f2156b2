"""Asking the studies that a config names, and writing down what they found: studies.json, latents.parquet, figures.

Every field is in docs/file-formats.md.
"""

import hashlib
import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omnisae.atomic import replacing, write_json
from omnisae.errors import ConfigError, OmnisaeError
from omnisae.figure import Figure
from omnisae.plugins.kinds import StudyConfig
from omnisae.postings.poles import Poles
from omnisae.studies.study import Finding, Findings, Material, Measure

log = logging.getLogger(__name__)

FILE, LATENTS, FIGURES = "studies.json", "latents.parquet", "studies"
SUFFIX = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg", "text/html": "html"}


def ask(
    configs: Sequence[StudyConfig],
    material: Material,
    out: Path,
    *,
    observe: Callable[[dict[str, Any]], None] = lambda event: None,
) -> None:
    """Every study in turn. One that fails is written down as failed, and the others go on.

    `observe` is told of progress: {"event": "score", "step", "done", "of"}.
    Raises ConfigError where two studies measure something under one name.
    """
    shutil.rmtree(out / FIGURES, ignore_errors=True)
    told: list[dict[str, Any]] = []
    measures: dict[str, Measure] = {}
    for number, config in enumerate(configs, start=1):
        study = config.build()
        called = f" ({config.name})" if config.name else ""
        title = study.title + called
        entry: dict[str, Any] = {"type": config.type, "title": title, "about": study.about, "failed": ""}
        try:
            found = _checked(study.study(material), len(material.postings.poles), config.type)
        except Exception as error:
            # A question without an answer must not cost the user the others' answers, nor the scores.
            problem = error.problem if isinstance(error, OmnisaeError) else f"{type(error).__name__}: {error}"
            remedy = error.remedy if isinstance(error, OmnisaeError) else ""
            log.warning("the study %r has no answer: %s", config.type, problem, exc_info=not remedy)
            entry["failed"] = f"{problem}; {remedy}" if remedy else problem
            found = Findings()
        found = replace(found, measures=[replace(one, name=one.name + called) for one in found.measures])
        for measure in found.measures:
            if measure.name in measures:
                raise ConfigError(
                    f"score.studies: two of them measure {measure.name!r} of every latent, the second {config.type}",
                    "tell the second from the first: give it a `name:` of its own",
                )
            measures[measure.name] = measure
        told.append(entry | _entry(found, out))
        observe({"event": "score", "step": "studies", "done": number, "of": len(configs)})
    _write_measures(out / LATENTS, measures, material.postings.poles)
    columns = [{"name": m.name, "note": m.note, "kind": m.kind} for m in measures.values()]
    write_json(out / FILE, {"studies": told, "measures": columns})


def _checked(found: Findings, lists: int, name: str) -> Findings:
    """What a plug-in gave, or an error that says what is wrong with it."""
    for measure in found.measures:
        if len(measure.values) != lists:
            raise ValueError(f"{name} gave {len(measure.values)} values of {measure.name!r} for {lists} posting lists")
    for finding in found.findings:
        if not isinstance(finding.n, (int, np.integer)) or finding.n < 0:
            raise ValueError(f"{name} gave n = {finding.n!r} for {finding.name!r}: n is a count")
    return found


def _entry(found: Findings, out: Path) -> dict[str, Any]:
    return {
        "findings": [_plain(finding) for finding in found.findings],
        "figures": [_put(figure, out) for figure in found.figures],
        "tables": {
            title: [{key: _json(value) for key, value in row.items()} for row in rows]
            for title, rows in found.tables.items()
        },
        "measures": [measure.name for measure in found.measures],
        "notes": list(found.notes),
        "warnings": list(found.warnings),
    }


def _plain(finding: Finding) -> dict[str, Any]:
    return {key: _json(value) for key, value in asdict(finding).items()}


def _json(value: Any) -> Any:
    """NaN and infinities are null in JSON."""
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def _put(figure: Figure, out: Path) -> dict[str, str]:
    """The drawing in a file named by its content."""
    name = f"{hashlib.sha256(figure.data).hexdigest()[:24]}.{SUFFIX[figure.media]}"
    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    with replacing(out / FIGURES / name) as temporary:
        temporary.write_bytes(figure.data)
    return {
        "file": f"{FIGURES}/{name}",
        "media": figure.media,
        "title": figure.title,
        "caption": figure.caption,
        "alt": figure.alt,
    }


def _write_measures(path: Path, measures: Mapping[str, Measure], poles: Poles) -> None:
    """A row a posting list: the latent, its sign where codes are signed, and what was measured of it."""
    lists = np.arange(len(poles))
    columns: dict[str, Any] = {"latent": pa.array(poles.latent(lists), pa.int32())}
    if poles.signed:
        columns["sign"] = pa.array([poles.sign(int(one)) for one in lists], pa.int8())
    for name, measure in measures.items():
        if measure.kind == "text":
            columns[name] = pa.array([str(value) for value in measure.values], pa.string())
        else:
            columns[name] = pa.array(np.asarray(measure.values, dtype=np.float64), pa.float64(), from_pandas=False)
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)
