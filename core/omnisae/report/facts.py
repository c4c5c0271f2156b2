"""What the stages before have written into a run's folder: numbers of health, concepts, effects."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnisae.errors import RunError
from omnisae.postings.poles import Poles

CONTROLS = ("neuron", "pca", "random")
COLUMNS = (
    "latent",
    "concept",
    "level",
    "threshold",
    "precision",
    "recall",
    "recall_instance",
    "f1",
    "auroc",
    "iou",
    "spearman",
    "n_select",
    "n_test",
    "control_neuron_f1",
    "control_pca_f1",
    "control_random_f1",
    "p_value",
    "q_value",
)
_TEXT = ("concept", "level")
_WHOLE = ("latent", "n_select", "n_test")


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of the concept table: a latent stands for a concept. Chosen on select, measured on test examples.

    `latent` is the name that pages know it by, `pole` the number of its posting list (see `Poles`). `rank` counts the
    rows of the same concept and level from 0, the best on the select split first. NaN is unknown.
    """

    latent: int | str
    concept: str
    level: str
    threshold: float
    precision: float
    recall: float
    recall_instance: float
    f1: float
    auroc: float
    iou: float
    spearman: float
    n_select: int
    n_test: int
    control_neuron_f1: float
    control_pca_f1: float
    control_random_f1: float
    p_value: float
    q_value: float
    rank: int
    pole: int
    extra: Mapping[str, float] = field(default_factory=dict)
    """Columns of metrics that plug-ins bring, by name."""

    @property
    def controls(self) -> dict[str, float]:
        """The F1 of each control that was run."""
        found = {name: float(getattr(self, f"control_{name}_f1")) for name in CONTROLS}
        return {name: value for name, value in found.items() if not math.isnan(value)}

    @property
    def control(self) -> float:
        """The F1 of the best control; NaN where none was run."""
        return max(self.controls.values(), default=math.nan)

    @property
    def margin(self) -> float:
        """How far the F1 lies above the best control's."""
        return self.f1 - self.control


@dataclass(frozen=True)
class Facts:
    """What is known of a run, read from its folder; what a stage has not written is empty. `poles` are what its posting
    lists belong to."""

    poles: Poles
    claims: Sequence[Claim] = ()
    concepts: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    effects: Sequence[Mapping[str, Any]] = ()
    loss: Mapping[str, Any] = field(default_factory=dict)
    why_no_effects: str = ""
    skipped: Sequence[tuple[str, str]] = ()

    def best(self) -> list[Claim]:
        """The best latent of every concept (chosen on select), those that beat their controls by most first."""
        first = [claim for claim in self.claims if claim.rank == 0]
        return sorted(first, key=lambda c: (_last(c.margin), _last(c.f1), _last(c.spearman), c.concept))

    def by_latent(self) -> dict[int, list[Claim]]:
        """The claims of every latent (where codes are signed, of every pole), by the number of its posting list: those
        in which it came first on select, then by margin."""
        found: dict[int, list[Claim]] = {}
        for claim in self.claims:
            found.setdefault(claim.pole, []).append(claim)
        for claims in found.values():
            claims.sort(key=lambda c: (c.rank, _last(c.margin), _last(c.f1), _last(c.spearman)))
        return found


def _last(value: float) -> float:
    return math.inf if math.isnan(value) else -value


def read(run: Path, poles: Poles) -> Facts:
    """The facts of a run's folder, whose posting lists belong to `poles`. Raises RunError where a file is damaged; a
    missing one counts as empty."""
    effects = _json(run / "effects.json") or {}
    return Facts(
        poles=poles,
        claims=_claims(run / "concepts.parquet", poles),
        concepts=_json(run / "concepts.json") or {},
        metrics=_health(run / "codes" / "health.json") | (_json(run / "metrics.json") or {}),
        effects=effects.get("latents") or [],
        loss=effects.get("loss") or {},
        why_no_effects=str(effects.get("why", "")),
        # A further autoencoder's findings lie two floors below the run's folder.
        skipped=_skipped(next((f / "store" for f in (run, *run.parents[:2]) if (f / "store").is_dir()), run / "store")),
    )


def _health(path: Path) -> dict[str, Any]:
    """What the encoding measured, under the names of metrics.json: a run may be reported before it is scored."""
    found = _json(path) or {}
    same = ("explained_variance", "l0", "dead_fraction", "bipolar_fraction", "rarer_sign")
    names = {"tokens": "tokens_evaluated"} | {name: name for name in same}
    return {name: found[key] for key, name in names.items() if key in found}


def _json(path: Path) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is not JSON: {error}", "run the stage that writes it again") from None


def _claims(path: Path, poles: Poles) -> list[Claim]:
    if not path.exists():
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise RunError(f"{path} is not a Parquet table: {error}", "run `omnisae score` again") from None
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise RunError(f"{path} lacks the columns {', '.join(missing)}", "run `omnisae score` again")
    extra = [name for name in table.column_names if name not in (*COLUMNS, "sign")]
    signs = table["sign"].to_pylist() if "sign" in table.column_names else [None] * len(table)
    columns = {name: [_typed(name, value) for value in table[name].to_pylist()] for name in (*COLUMNS, *extra)}
    seen: dict[tuple[str, str], int] = {}
    claims = []
    for sign, *values in zip(signs, *columns.values(), strict=True):
        row: dict[str, Any] = dict(zip(columns, values, strict=True))
        pole = poles.at(row["latent"], sign)
        row["latent"] = poles.name(pole)
        which = (row["concept"], row["level"])
        rank = seen[which] = seen.get(which, -1) + 1
        fixed = {name: row[name] for name in COLUMNS}
        claims.append(Claim(**fixed, rank=rank, pole=pole, extra={name: row[name] for name in extra}))
    return claims


def _typed(name: str, value: Any) -> Any:
    if name in _TEXT:
        return str(value)
    if name in _WHOLE:
        return int(value or 0)
    return math.nan if value is None else float(value)


def _skipped(store: Path) -> list[tuple[str, str]]:
    """Examples that the extraction could not read: id and reason, from the manifests of the run's stores."""
    found: dict[str, str] = {}
    for path in sorted(store.glob("*/manifest.json")):
        for item in (_json(path) or {}).get("skipped", []):
            found[str(item["id"])] = str(item["reason"])
    return list(found.items())
